//! Latency over time as SVG.

use super::{Report, Upgrade};
use crate::error::ReportError;
use crate::series::Series;
use plotters::coord::Shift;
use plotters::coord::combinators::LogCoord;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (1000, 420);

/// Points along the time axis: one for each pixel or so; more cannot be seen.
const COLUMNS: usize = 840;

/// The lower end of the latency axis, in ms: below it loopback itself is.
const FLOOR: f64 = 0.05;

const MAX_COLOUR: RGBColor = RGBColor(0x9a, 0xb8, 0xd8);
const P50_COLOUR: RGBColor = RGBColor(0x1f, 0x4e, 0x8c);
const FAILED_COLOUR: RGBColor = RGBColor(0xd0, 0x20, 0x20);
const UPGRADE_COLOUR: RGBColor = RGBColor(0x55, 0x55, 0x55);
const UNEXPECTED_COLOUR: RGBColor = RGBColor(0xc0, 0x60, 0x00);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, LogCoord<f64>>>;

/// One point of the picture.
#[derive(Debug, Clone, Copy)]
struct Point {
    from: f64,
    to: f64,
    answered: bool,
    p50_ms: f64,
    max_ms: f64,
    failed: bool,
}

pub(super) fn render(report: &Report) -> Result<String, ReportError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area, report).map_err(|error| ReportError::Picture(error.to_string()))?;
        area.present()
            .map_err(|error| ReportError::Picture(error.to_string()))?;
    }
    Ok(svg)
}

fn draw(area: &Area<'_>, report: &Report) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let points = points(&report.series);
    let seconds = (report.duration_ms / 1_000.0).max(0.1);
    let top = points.iter().map(|point| point.max_ms).fold(1.0, f64::max) * 3.0;
    let lost = match report.failed {
        0 => "none lost".to_owned(),
        failed => format!("{failed} lost"),
    };
    let caption = format!(
        "{}: {} requests, {lost}",
        shortened(&report.target),
        report.requests
    );
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(0.0..seconds, (FLOOR..top).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("seconds since the load began (each request at the moment it was due)")
        .y_desc("latency in ms (log scale)")
        .axis_desc_style(("sans-serif", 14))
        .label_style(("sans-serif", 12))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.08))
        .y_label_formatter(&|value| format!("{value}"))
        .draw()?;
    spans(&mut chart, report, top)?;
    latency(&mut chart, &points)?;
    marks(&mut chart, report, top)?;
    failures(&mut chart, &points, report.failed)?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 12))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    Ok(())
}

fn latency<'a>(
    chart: &mut Chart<'a, '_>,
    points: &[Point],
) -> Result<(), Box<dyn std::error::Error>> {
    let seen = || points.iter().filter(|point| point.answered);
    let bars = seen().map(|point| {
        let corners = [(point.from, FLOOR), (point.to, point.max_ms.max(FLOOR))];
        Rectangle::new(corners, MAX_COLOUR.filled())
    });
    let key = |colour: RGBColor| {
        move |(x, y): (i32, i32)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3))
    };
    chart
        .draw_series(bars)?
        .label("slowest")
        .legend(key(MAX_COLOUR));
    let medians = seen().map(|point| {
        let height = point.p50_ms.max(FLOOR);
        PathElement::new(
            [(point.from, height), (point.to, height)],
            P50_COLOUR.stroke_width(2),
        )
    });
    chart
        .draw_series(medians)?
        .label("median")
        .legend(key(P50_COLOUR));
    Ok(())
}

/// A mark of one size for any number of losses: one must be seen among a million.
fn failures(
    chart: &mut Chart<'_, '_>,
    points: &[Point],
    failed: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let lost = points.iter().filter(|point| point.failed).map(|point| {
        TriangleMarker::new(
            ((point.from + point.to) / 2.0, FLOOR * 1.25),
            5,
            FAILED_COLOUR.filled(),
        )
    });
    let series = chart.draw_series(lost)?;
    if failed > 0 {
        series
            .label("lost requests")
            .legend(|(x, y)| TriangleMarker::new((x + 8, y), 5, FAILED_COLOUR.filled()));
    }
    Ok(())
}

fn colour(upgrade: &Upgrade) -> RGBColor {
    if upgrade.as_expected {
        UPGRADE_COLOUR
    } else {
        UNEXPECTED_COLOUR
    }
}

/// Behind the latency: how long each upgrade took.
fn spans(
    chart: &mut Chart<'_, '_>,
    report: &Report,
    top: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let spans = report.upgrades.iter().map(|upgrade| {
        let from = upgrade.start_ms / 1_000.0;
        let to = from + upgrade.duration_ms / 1_000.0;
        Rectangle::new(
            [(from, FLOOR), (to, top)],
            colour(upgrade).mix(0.12).filled(),
        )
    });
    chart.draw_series(spans)?;
    Ok(())
}

/// Before the latency: when each upgrade was triggered, and what it was.
fn marks(
    chart: &mut Chart<'_, '_>,
    report: &Report,
    top: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    /// With more marks than this their labels would cover each other.
    const MOST_LABELS: usize = 30;
    let lines = report.upgrades.iter().map(|upgrade| {
        let at = upgrade.start_ms / 1_000.0;
        PathElement::new([(at, FLOOR), (at, top)], colour(upgrade).mix(0.7))
    });
    let series = chart.draw_series(lines)?;
    if !report.upgrades.is_empty() {
        series
            .label("upgrade")
            .legend(|(x, y)| PathElement::new([(x + 8, y - 6), (x + 8, y + 6)], UPGRADE_COLOUR));
    }
    let step = report.upgrades.len().div_ceil(MOST_LABELS).max(1);
    let labels = report.upgrades.iter().step_by(step).map(|upgrade| {
        let style = ("sans-serif", 11)
            .into_font()
            .transform(FontTransform::Rotate90)
            .color(&colour(upgrade))
            .pos(Pos::new(HPos::Left, VPos::Bottom));
        let label = label(&upgrade.label, upgrade.as_expected);
        Text::new(label, (upgrade.start_ms / 1_000.0, top * 0.9), style)
    });
    chart.draw_series(labels)?;
    Ok(())
}

/// Short enough for the upper half of the picture.
fn label(label: &str, as_expected: bool) -> String {
    let mark = if as_expected { "" } else { " (!)" };
    shortened(label) + mark
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 28;
    let mut short: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    if text.chars().count() > LONGEST {
        short.push('…');
    }
    short
}

/// Merges the series' columns until they fit the picture.
fn points(series: &Series) -> Vec<Point> {
    let merge = series.answered.len().div_ceil(COLUMNS).max(1);
    (0..series.answered.len())
        .step_by(merge)
        .map(|from| {
            let to = (from + merge).min(series.answered.len());
            point(series, from, to)
        })
        .collect()
}

fn point(series: &Series, from: usize, to: usize) -> Point {
    let column = |values: &[u32]| -> Vec<u32> {
        (from..to)
            .map(|i| values.get(i).copied().unwrap_or(0))
            .collect()
    };
    let answered = column(&series.answered);
    // A report read from a file may hold any numbers: floats do not overflow.
    let total: f64 = answered.iter().copied().map(f64::from).sum();
    let medians = column(&series.p50_us);
    let weighted: f64 = medians
        .iter()
        .zip(&answered)
        .map(|(p50, count)| f64::from(*p50) * f64::from(*count))
        .sum();
    let seconds = |column: usize| column as f64 * series.bucket_ms / 1_000.0;
    Point {
        from: seconds(from),
        to: seconds(to),
        answered: total > 0.0,
        p50_ms: weighted / total.max(1.0) / 1_000.0,
        max_ms: f64::from(column(&series.max_us).into_iter().max().unwrap_or(0)) / 1_000.0,
        failed: column(&series.failed).iter().any(|count| *count > 0),
    }
}
