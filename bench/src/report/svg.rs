//! Drawings as SVG: bars with their spread, lines over time, latency distributions over ever rarer
//! quantiles.

use crate::{failure::Failure, stats::Spread};
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 380);
const FONT: &str = "sans-serif";
const COLOURS: [RGBColor; 8] = [
    RGBColor(0xd9, 0x6b, 0x27),
    RGBColor(0x2f, 0x5d, 0x8a),
    RGBColor(0x3f, 0x8f, 0x5f),
    RGBColor(0x8a, 0x4f, 0x9e),
    RGBColor(0x77, 0x77, 0x77),
    RGBColor(0xc2, 0x35, 0x5b),
    RGBColor(0x1f, 0x9a, 0xa8),
    RGBColor(0xa8, 0x8b, 0x1f),
];

/// A median with its spread.
pub struct Bar {
    pub name: String,
    /// The median as tables say it.
    pub text: String,
    pub spread: Spread,
}

/// A named line.
pub struct Series<'a> {
    pub name: String,
    pub points: &'a [(f64, f64)],
}

/// The library's error about a drawing, as a failure.
fn failed(error: impl std::fmt::Display) -> Failure {
    format!("cannot draw: {error}").into()
}

fn colour(place: usize) -> RGBColor {
    COLOURS[place % COLOURS.len()]
}

/// One bar a row from the left, longest values fitting, the spread as a thin line.
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> Result<String, Failure> {
    let longest = bars
        .iter()
        .map(|bar| bar.spread.highest)
        .fold(0.0, f64::max)
        .max(f64::MIN_POSITIVE)
        * 1.18;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (SIZE.0, 90 + 44 * bars.len() as u32))
            .into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("{title}: {unit}"), (FONT, 16))
            .margin(10)
            .x_label_area_size(28)
            .y_label_area_size(130)
            .build_cartesian_2d(0.0..longest, 0.0..bars.len() as f64)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .y_labels(0)
            .light_line_style(WHITE)
            .x_label_formatter(&|value| value.to_string())
            .draw()
            .map_err(failed)?;
        for (place, bar) in bars.iter().enumerate() {
            // The first on top.
            let base = (bars.len() - 1 - place) as f64;
            let Spread {
                median,
                lowest,
                highest,
            } = bar.spread;
            chart
                .draw_series([Rectangle::new(
                    [(0.0, base + 0.2), (median, base + 0.8)],
                    colour(place).filled(),
                )])
                .map_err(failed)?;
            chart
                .draw_series([PathElement::new(
                    [(lowest, base + 0.5), (highest, base + 0.5)],
                    BLACK.stroke_width(2),
                )])
                .map_err(failed)?;
            let (left, middle) = (
                chart.backend_coord(&(0.0, base + 0.5)),
                chart.backend_coord(&(highest, base + 0.5)),
            );
            root.draw(&Text::new(bar.name.clone(), (14, left.1 - 7), (FONT, 13)))
                .map_err(failed)?;
            root.draw(&Text::new(
                bar.text.clone(),
                (middle.0 + 6, middle.1 - 7),
                (FONT, 13),
            ))
            .map_err(failed)?;
        }
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// Lines from zero.
pub fn lines(title: &str, x: &str, y: &str, series: &[Series<'_>]) -> Result<String, Failure> {
    let most = |of: fn(&(f64, f64)) -> f64| {
        series
            .iter()
            .flat_map(|line| line.points)
            .map(of)
            .fold(0.0, f64::max)
            .max(f64::MIN_POSITIVE)
    };
    let (right, top) = (most(|point| point.0), most(|point| point.1) * 1.1);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, (FONT, 16))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..right, 0.0..top)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(x)
            .y_desc(y)
            .draw()
            .map_err(failed)?;
        draw(
            &mut chart,
            series
                .iter()
                .map(|line| (line.name.clone(), line.points.to_vec())),
            SeriesLabelPosition::UpperLeft,
        )?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// Milliseconds, by tens, over quantiles, by nines: each step to the right is ten times as rare.
pub fn distributions(title: &str, series: &[Series<'_>]) -> Result<String, Failure> {
    let mut drawn = Vec::new();
    for line in series {
        // The maximum is no quantile: it is where the rarest one would go.
        let rarest = line
            .points
            .iter()
            .map(|point| point.0)
            .filter(|&quantile| quantile < 1.0)
            .fold(0.0, f64::max);
        let points = line.points.iter().map(|&(quantile, ms)| {
            let rarity = if quantile < 1.0 {
                nines(quantile)
            } else {
                nines(rarest) + 0.3
            };
            (rarity, ms.max(0.001))
        });
        drawn.push((line.name.clone(), points.collect::<Vec<_>>()));
    }
    let all = || drawn.iter().flat_map(|(_, points)| points);
    let right = all().map(|point| point.0).fold(0.0, f64::max).max(1.0);
    let (low, high) = all().fold((f64::INFINITY, 0.0_f64), |(low, high), point| {
        (low.min(point.1), high.max(point.1))
    });
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, (FONT, 16))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..right * 1.02, (low * 0.5..high * 2.0).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("percentile")
            .y_desc("ms")
            .x_labels(right as usize + 1)
            .x_label_formatter(&|nines| percentile(*nines))
            .y_label_formatter(&|ms| format!("{ms}"))
            .draw()
            .map_err(failed)?;
        // Where the lines are not: they rise to the right.
        draw(
            &mut chart,
            drawn.into_iter(),
            SeriesLabelPosition::LowerRight,
        )?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

/// Each line in its colour, and what it is called.
fn draw<'a, 'b: 'a, X, Y>(
    chart: &mut Chart<'a, 'b, X, Y>,
    series: impl Iterator<Item = (String, Vec<(f64, f64)>)>,
    names_at: SeriesLabelPosition,
) -> Result<(), Failure>
where
    X: plotters::coord::ranged1d::Ranged<ValueType = f64>,
    Y: plotters::coord::ranged1d::Ranged<ValueType = f64>,
{
    for (place, (name, points)) in series.enumerate() {
        let colour = colour(place);
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(failed)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(names_at)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 12))
        .draw()
        .map_err(failed)
}

/// 0.9 is one nine, 0.99 two.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

fn percentile(nines: f64) -> String {
    let digits = (nines.round() - 2.0).max(0.0) as usize;
    format!("{:.digits$}", 100.0 * (1.0 - 10_f64.powf(-nines)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_and_percentiles_are_each_others_inverse() {
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
        assert_eq!(
            [0.0, 1.0, 2.0, 3.0, 4.0].map(percentile),
            ["0", "90", "99", "99.9", "99.99"]
        );
    }

    #[test]
    fn drawings_of_one_point_and_of_zeroes_are_drawn() {
        let spread = Spread {
            median: 0.0,
            lowest: 0.0,
            highest: 0.0,
        };
        assert!(
            bars(
                "t",
                "u",
                &[Bar {
                    name: "n".into(),
                    text: "0".into(),
                    spread
                }]
            )
            .expect("a bar")
            .contains("<svg")
        );
        let points = [(0.0, 0.0)];
        let series = [Series {
            name: "n".into(),
            points: &points,
        }];
        assert!(
            lines("t", "x", "y", &series)
                .expect("a line")
                .contains("<svg")
        );
        assert!(
            distributions("t", &series)
                .expect("a line")
                .contains("<svg")
        );
    }
}
