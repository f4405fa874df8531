//! The live view as it is drawn. A function of the state and the size of the terminal.

use super::state::State;
use crate::view::event::{Weight, weight};
use crate::view::quantity::{bytes, millis, or_unknown, time_of_day};
use crate::view::status::{reasons, roles};
use handover_proto::event::Event;
use handover_proto::phase::{Mode, Phase};
use handover_proto::status::Status;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};

/// The most instances and listeners that are shown, so that events always have room.
const MOST_ROWS: usize = 6;

/// Columns of an event's time and the gap after it.
const INDENT: usize = 14;

/// Lines, or columns, of border around a panel.
const BORDERS: u16 = 2;

/// Draws the whole view.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &State) {
    let instances = state
        .status
        .as_ref()
        .map_or(1, |status| roles(status).len());
    let listeners = state.status.as_ref().map_or(1, |s| s.listeners.len());
    let reasons = state.status.as_ref().map(reasons).unwrap_or_default();
    let reasons = u16::try_from(reasons.len()).unwrap_or(0);
    let [head, track, middle, ports, events, foot] = Layout::vertical([
        Constraint::Length(2 + reasons),
        Constraint::Length(1),
        Constraint::Length(rows(instances) + 1 + BORDERS),
        Constraint::Length(rows(listeners) + BORDERS),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(headline(state), head);
    frame.render_widget(Paragraph::new(phases(state)), track);
    frame.render_widget(instance_table(state), middle);
    frame.render_widget(listener_list(state), ports);
    frame.render_widget(event_list(state, events), events);
    frame.render_widget(footer(state), foot);
}

fn rows(count: usize) -> u16 {
    u16::try_from(count.clamp(1, MOST_ROWS)).unwrap_or(1)
}

fn bold() -> Style {
    Style::default().add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::default().add_modifier(Modifier::DIM)
}

fn headline(state: &State) -> Paragraph<'static> {
    let Some(status) = &state.status else {
        return Paragraph::new(Line::styled(state.service.clone(), bold()));
    };
    let phase = match status.phase {
        Phase::Serving => Span::styled("serving", Style::default().fg(Color::Green)),
        Phase::Vacant => Span::styled("NOBODY SERVES", bold().fg(Color::Red)),
        phase => Span::styled(phase.to_string(), bold().fg(Color::Yellow)),
    };
    let first = Line::from(vec![
        Span::styled(status.service.clone(), bold()),
        Span::raw("  "),
        phase,
        Span::raw(format!("  {}  {}", status.generation, status.mode)),
    ]);
    let second = format!(
        "supervisor pid {}, up {}, {}, {} descriptors",
        status.supervisor_pid,
        millis(status.uptime_ms),
        bytes(status.supervisor_rss_bytes),
        status.supervisor_descriptors,
    );
    let mut lines = vec![first, Line::styled(second, dim())];
    lines.extend(reasons(status).into_iter().map(Line::from));
    Paragraph::new(lines)
}

/// The way of a handover, with the place where this one stands.
fn phases(state: &State) -> Line<'static> {
    let Some(status) = &state.status else {
        return Line::default();
    };
    let way: &[Phase] = match status.mode {
        Mode::Overlap => &[Phase::Serving, Phase::Warm, Phase::Probation],
        Mode::Exclusive => &[
            Phase::Serving,
            Phase::Warm,
            Phase::Drain,
            Phase::Seal,
            Phase::Activate,
            Phase::Probation,
        ],
    };
    let mut spans = Vec::new();
    for phase in way {
        if !spans.is_empty() {
            spans.push(Span::styled(" → ", dim()));
        }
        spans.push(match *phase == status.phase {
            true => Span::styled(format!("[{phase}]"), bold()),
            false => Span::styled(phase.to_string(), dim()),
        });
    }
    if !way.contains(&status.phase) {
        spans.push(Span::styled(format!("   [{}]", status.phase), bold()));
    }
    spans.push(Span::raw(attempt(status)));
    Line::from(spans)
}

fn attempt(status: &Status) -> String {
    let running = match &status.handover {
        Some(handover) => format!("   {} for {}", handover.id, millis(handover.elapsed_ms)),
        None => String::new(),
    };
    match status.queued {
        true => format!("{running}, one waits"),
        false => running,
    }
}

fn panel(title: &'static str) -> Block<'static> {
    Block::default().borders(Borders::ALL).title(title)
}

fn instance_table(state: &State) -> Table<'static> {
    let everybody = state.status.as_ref().map(roles).unwrap_or_default();
    let rows = everybody.into_iter().map(|(role, instance)| {
        let style = match role {
            "serves" => Style::default().fg(Color::Green),
            "comes" | "yields" | "resumes" | "may serve" => Style::default().fg(Color::Yellow),
            _ => dim(),
        };
        let says = instance.text.as_ref().map(|text| format!(" “{text}”"));
        Row::new([
            Cell::from(instance.instance.to_string()),
            Cell::from(role),
            Cell::from(or_unknown(instance.pid, |pid| pid.to_string())),
            Cell::from(millis(instance.uptime_ms)),
            Cell::from(or_unknown(instance.connections, |n| n.to_string())),
            Cell::from(or_unknown(instance.rss_bytes, bytes)),
            Cell::from(format!("{}{}", instance.program, says.unwrap_or_default())),
        ])
        .style(style)
    });
    let widths = [
        Constraint::Length(5),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(11),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Fill(1),
    ];
    let header = ["", "role", "pid", "up", "conns", "memory", "program"];
    Table::new(rows, widths)
        .header(Row::new(header).style(dim()))
        .block(panel(" instances "))
}

fn listener_list(state: &State) -> Paragraph<'static> {
    let listeners = state.status.as_ref().map(|status| &status.listeners[..]);
    let lines: Vec<Line<'static>> = listeners
        .unwrap_or_default()
        .iter()
        .take(MOST_ROWS)
        .map(|listener| {
            Line::from(format!(
                "{:<12} {:<5} {}",
                listener.name,
                listener.kind.to_string(),
                listener.address
            ))
        })
        .collect();
    Paragraph::new(lines).block(panel(" listeners "))
}

/// The newest at the bottom, as many as fit.
fn event_list(state: &State, area: Rect) -> Paragraph<'static> {
    let inside = |length: u16| usize::from(length.saturating_sub(BORDERS));
    let width = inside(area.width).saturating_sub(INDENT).max(1);
    let lines = state
        .events
        .iter()
        .flat_map(|event| event_lines(event, width));
    let lines: Vec<Line<'static>> = lines.collect();
    let from = lines.len().saturating_sub(inside(area.height));
    let shown = lines.into_iter().skip(from).collect::<Vec<_>>();
    Paragraph::new(shown).block(panel(" events "))
}

/// An event with its time before it, folded to `width` columns beside that.
fn event_lines(event: &Event, width: usize) -> Vec<Line<'static>> {
    let style = match weight(&event.kind) {
        Weight::Plain => Style::default(),
        Weight::Good => Style::default().fg(Color::Green),
        Weight::Bad => Style::default().fg(Color::Red),
    };
    let text = event.kind.to_string();
    let mut before = format!("{}  ", time_of_day(event.unix_ms));
    let mut lines = Vec::new();
    for line in text.lines() {
        for piece in fold(line, width) {
            let time = std::mem::replace(&mut before, " ".repeat(INDENT));
            lines.push(Line::from(vec![
                Span::styled(time, dim()),
                Span::styled(piece, style),
            ]));
        }
    }
    lines
}

/// Breaks a line at spaces where it can.
fn fold(line: &str, width: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > width {
        let space = rest[..=width].iter().rposition(|c| *c == ' ');
        let at = space.filter(|at| *at > 0).unwrap_or(width);
        let tail = rest.split_off(at);
        pieces.push(rest.into_iter().collect());
        rest = tail.into_iter().skip_while(|c| *c == ' ').collect();
    }
    pieces.push(rest.into_iter().collect());
    pieces
}

fn footer(state: &State) -> Paragraph<'static> {
    match &state.lost {
        Some(why) => Paragraph::new(Line::styled(
            format!("q quit   the supervisor does not answer: {why}"),
            bold().fg(Color::Red),
        )),
        None => Paragraph::new(Line::styled("q quit", dim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::Input;
    use crate::view::sample;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(width: u16, height: u16, state: &State) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        terminal.backend().to_string()
    }

    fn busy() -> State {
        let mut state = State::new("web".to_owned());
        state.apply(Input::Status(Box::new(sample::in_handover())));
        for event in sample::events() {
            state.apply(Input::Event(Box::new(event)));
        }
        state
    }

    #[test]
    fn a_handover_at_80_by_24() {
        insta::assert_snapshot!(drawn(80, 24, &busy()));
    }

    #[test]
    fn a_handover_at_120_by_40() {
        insta::assert_snapshot!(drawn(120, 40, &busy()));
    }

    #[test]
    fn an_exclusive_handover_at_80_by_24() {
        let mut state = busy();
        state.apply(Input::Status(Box::new(sample::sealing())));
        insta::assert_snapshot!(drawn(80, 24, &state));
    }

    #[test]
    fn a_probation_at_120_by_40() {
        let mut state = busy();
        state.apply(Input::Status(Box::new(sample::on_probation())));
        insta::assert_snapshot!(drawn(120, 40, &state));
    }

    #[test]
    fn a_lost_supervisor_at_80_by_24() {
        let mut state = busy();
        state.apply(Input::Status(Box::new(sample::vacant())));
        state.apply(Input::Lost("connection refused".to_owned()));
        insta::assert_snapshot!(drawn(80, 24, &state));
    }

    #[test]
    fn lines_are_folded_at_spaces_where_there_are_any() {
        assert_eq!(fold("one two three", 8), ["one two", "three"]);
        assert_eq!(fold("one two", 7), ["one two"]);
        assert_eq!(fold("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(fold("", 3), [""]);
    }

    /// Whatever the size, drawing does not fail.
    #[test]
    fn any_size_can_be_drawn() {
        for (width, height) in [(1, 1), (3, 2), (20, 5), (300, 100)] {
            drawn(width, height, &busy());
            drawn(width, height, &State::new("web".to_owned()));
        }
    }
}
