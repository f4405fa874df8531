//! `hub top` as it is drawn. A function of the state and the size of the terminal.

use super::state::{Glance, State};
use super::view::{count, counted, known, moves, plain, share, unheard};
use crate::view::quantity::{millis, time_of_day};
use handover_hub::admin::view::{EventView, NodeView, Weight};
use handover_hub_proto::view::Standing;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};

/// The most nodes that are shown, so that events always have room.
const MOST_NODES: usize = 12;

/// The most moves that are shown.
const MOST_MOVES: usize = 4;

/// Lines, or columns, of border around a panel.
const BORDERS: u16 = 2;

/// Columns of a full bar.
const BAR: usize = 20;

/// Draws the whole view.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &State) {
    let nodes = state.glance.as_ref().map_or(1, |g| g.nodes.len());
    let flights = state.glance.as_ref().map_or(1, |g| g.moves.moves.len());
    let head = headline(state);
    let height = u16::try_from(head.len()).unwrap_or(1);
    let [top, middle, flying, events, foot] = Layout::vertical([
        Constraint::Length(height),
        Constraint::Length(rows(nodes, MOST_NODES) + 1 + BORDERS),
        Constraint::Length(rows(flights, MOST_MOVES) + BORDERS),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head), top);
    frame.render_widget(node_table(state), middle);
    frame.render_widget(move_list(state), flying);
    frame.render_widget(event_list(state, events), events);
    frame.render_widget(footer(state), foot);
}

fn rows(count: usize, most: usize) -> u16 {
    u16::try_from(count.clamp(1, most)).unwrap_or(1)
}

fn bold() -> Style {
    Style::default().add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::default().add_modifier(Modifier::DIM)
}

fn bad() -> Style {
    bold().fg(Color::Red)
}

fn headline(state: &State) -> Vec<Line<'static>> {
    let Some(Glance { status, nodes, .. }) = &state.glance else {
        return vec![Line::styled("asking…", dim())];
    };
    let mut lines = vec![
        Line::from(vec![
            Span::styled(status.hub.to_string(), bold()),
            Span::raw(format!(
                "  {}  {}  {}",
                counted(nodes.len() as u64, "node", "nodes"),
                counted(status.processes, "process", "processes"),
                counted(u64::from(status.shards.total), "shard", "shards"),
            )),
            Span::styled(format!("  as node {} knows it", status.node), dim()),
        ]),
        Line::from(moves(status)),
    ];
    if status.shards.vacant > 0 {
        let vacant = u64::from(status.shards.vacant);
        let text = format!("{} without a home", counted(vacant, "shard", "shards"));
        lines.push(Line::styled(text, bold().fg(Color::Yellow)));
    }
    if let Some(reason) = &status.suspended {
        let text = format!("NODE {} STANDS STILL: {}", status.node, plain(reason));
        lines.push(Line::styled(text, bad()));
    }
    lines
}

fn panel(title: String) -> Block<'static> {
    Block::default().borders(Borders::ALL).title(title)
}

fn node_table(state: &State) -> Table<'static> {
    let nodes = state.glance.as_ref().map(|glance| &glance.nodes[..]);
    let nodes = nodes.unwrap_or_default();
    let most = nodes.iter().map(|node| node.processes).max().unwrap_or(0);
    let title = match nodes.len() {
        hidden if hidden > MOST_NODES => format!(" nodes, {} not shown ", hidden - MOST_NODES),
        _ => " nodes ".to_owned(),
    };
    let rows = nodes
        .iter()
        .take(MOST_NODES)
        .map(|node| node_row(node, most));
    let widths = [
        Constraint::Min(6),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(20),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Length(6),
    ];
    let header = [
        "",
        "takes processes",
        "processes",
        "",
        "shards",
        "waiting",
        "cpu",
        "memory",
    ];
    Table::new(rows, widths)
        .header(Row::new(header).style(dim()))
        .block(panel(title))
}

fn node_row(node: &NodeView, most: u64) -> Row<'static> {
    let style = match node.standing {
        Standing::Serving => Style::default(),
        Standing::Evacuating | Standing::Leaving => Style::default().fg(Color::Yellow),
    };
    Row::new([
        Cell::from(node.name.to_string()),
        Cell::from(takes(node.standing)),
        Cell::from(format!("{:>9}", count(node.processes))),
        Cell::from(bar(node.processes, most)).style(Style::default().fg(Color::Blue)),
        Cell::from(format!("{:>6}", count(u64::from(node.shards)))),
        Cell::from(format!(
            "{:>7}",
            known(&node.load, count(u64::from(node.load.queued)))
        )),
        Cell::from(format!(
            "{:>5}",
            known(&node.load, share(node.load.processor))
        )),
        Cell::from(format!("{:>6}", known(&node.load, share(node.load.memory)))),
    ])
    .style(style)
}

fn takes(standing: Standing) -> &'static str {
    match standing {
        Standing::Serving => "yes",
        Standing::Evacuating => "emptying",
        Standing::Leaving => "leaving",
    }
}

fn bar(value: u64, most: u64) -> String {
    let full = u128::from(value) * BAR as u128 / u128::from(most.max(1));
    "▇".repeat(usize::try_from(full).unwrap_or(BAR).min(BAR))
}

fn move_list(state: &State) -> Paragraph<'static> {
    let glance = state.glance.as_ref();
    let moves = glance.map(|glance| &glance.moves.moves[..]);
    let moves = moves.unwrap_or_default();
    let all = glance.map_or(0, |glance| glance.moves.in_flight);
    let mut title = match all {
        0 => " no move in flight ".to_owned(),
        all => format!(
            " {} in flight, the longest first ",
            counted(all, "move", "moves")
        ),
    };
    if let Some(glance) = glance.filter(|glance| !glance.moves.unknown.is_empty()) {
        title = format!("{}, {} ", title.trim_end(), unheard(&glance.moves.unknown));
    }
    let lines: Vec<Line<'static>> = moves
        .iter()
        .take(MOST_MOVES)
        .map(|flight| {
            let elapsed = millis(flight.elapsed_ms);
            let way = format!("{} → {}", flight.from, flight.to);
            Line::from(format!("{elapsed:>10}  {way:<16}  {}", flight.process))
        })
        .collect();
    Paragraph::new(lines).block(panel(title))
}

/// The newest at the bottom, as many as fit.
fn event_list(state: &State, area: Rect) -> Paragraph<'static> {
    let room = usize::from(area.height.saturating_sub(BORDERS));
    let from = state.events.len().saturating_sub(room);
    let lines: Vec<Line<'static>> = state.events.range(from..).map(event_line).collect();
    Paragraph::new(lines).block(panel(" events ".to_owned()))
}

fn event_line(event: &EventView) -> Line<'static> {
    let style = match event.weight {
        Weight::Plain => Style::default(),
        Weight::Good => Style::default().fg(Color::Green),
        Weight::Bad => Style::default().fg(Color::Red),
    };
    Line::from(vec![
        Span::styled(format!("{}  ", time_of_day(event.unix_ms)), dim()),
        Span::styled(plain(&event.text), style),
    ])
}

fn footer(state: &State) -> Paragraph<'static> {
    let Some(why) = &state.lost else {
        return Paragraph::new(Line::styled("q quit", dim()));
    };
    let since = state.glance.as_ref().map_or_else(String::new, |glance| {
        format!(
            "shown is what was at {}; ",
            time_of_day(glance.status.unix_ms)
        )
    });
    let text = format!("q quit   {since}the node does not answer: {}", plain(why));
    Paragraph::new(Line::styled(text, bad()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::sample;
    use crate::hub::state::Input;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(width: u16, height: u16, state: &State) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        terminal.backend().to_string()
    }

    fn busy() -> State {
        let mut state = State::default();
        state.apply(Input::Glance(Box::new(Glance {
            status: sample::status(),
            nodes: sample::nodes(),
            moves: sample::moves(),
        })));
        for event in sample::events() {
            state.apply(Input::Event(Box::new(event)));
        }
        state
    }

    #[test]
    fn an_evacuation_at_100_by_24() {
        insta::assert_snapshot!(drawn(100, 24, &busy()));
    }

    #[test]
    fn an_evacuation_at_80_by_24() {
        insta::assert_snapshot!(drawn(80, 24, &busy()));
    }

    #[test]
    fn a_lost_node_at_80_by_24() {
        let mut state = busy();
        state.apply(Input::Lost("connection refused".to_owned()));
        insta::assert_snapshot!(drawn(80, 24, &state));
    }

    #[test]
    fn a_node_whose_moves_are_not_known_at_80_by_24() {
        let mut state = busy();
        if let Some(glance) = &mut state.glance {
            glance.status.moves.unknown = vec!["b".to_owned()];
            glance.moves.unknown = vec!["b".to_owned()];
        }
        insta::assert_snapshot!(drawn(80, 24, &state));
    }

    /// Whatever the size, drawing does not fail.
    #[test]
    fn any_size_can_be_drawn() {
        for (width, height) in [(1, 1), (3, 2), (20, 5), (300, 100)] {
            drawn(width, height, &busy());
            drawn(width, height, &State::default());
        }
    }
}
