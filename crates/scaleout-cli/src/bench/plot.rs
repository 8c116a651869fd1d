//! Bars as SVG: messages a second, or latencies where the rate is given.

use std::fmt::Write as _;

use super::report::{Figures, Line, speed};

const BAR: u32 = 16;
const STEP: u32 = 22;
const LEFT: u32 = 240;
const WIDTH: u32 = 480;
const RIGHT: u32 = 130;

const OURS: &str = "#2a6f97";
const BASELINE: &str = "#8d99ae";

struct Bar {
    name: String,
    value: f64,
    label: String,
    color: &'static str,
}

/// A picture of all lines, the sizes below each other.
pub(super) fn svg(lines: &[Line]) -> String {
    let (mut body, mut y) = (String::new(), 24);
    for line in lines {
        y = group(&mut body, line, y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{y}\" viewBox=\"0 0 {width} {y}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n",
        width = LEFT + WIDTH + RIGHT,
    )
}

/// The bars of one size, from `y` on; where the next begin.
fn group(body: &mut String, line: &Line, mut y: u32) -> u32 {
    let unit = match line.rate {
        Some(rate) => format!("latency in µs at {rate} messages per second"),
        None => "messages per second".into(),
    };
    let (store, size) = (line.store, line.size);
    let _ =
        writeln!(body, "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">{store}, {size} bytes, {unit}</text>");
    y += 10;
    let mut bars = bars(line, &line.figures, OURS, line.shown_ratio());
    if let Some(baseline) = &line.baseline_figures {
        bars.extend(self::bars(line, baseline, BASELINE, None));
    }
    let most = bars.iter().map(|bar| bar.value).fold(1.0, f64::max);
    for Bar { name, value, label, color } in bars {
        let length = (value / most * f64::from(WIDTH)).max(1.0);
        let _ = writeln!(
            body,
            "<text x=\"{end}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.0}\" height=\"{BAR}\" fill=\"{color}\"/>\
             <text x=\"{behind:.0}\" y=\"{middle}\">{label}</text>",
            end = LEFT - 6,
            middle = y + BAR - 4,
            behind = f64::from(LEFT) + length + 5.0,
        );
        y += STEP;
    }
    y + 24
}

fn bars(line: &Line, figures: &Figures, color: &'static str, ratio: Option<f64>) -> Vec<Bar> {
    let times = ratio.map_or(String::new(), |ratio| format!(" (× {ratio:.2})"));
    let bar = |name: String, value: Option<f64>, label: String| Bar {
        name,
        value: value.unwrap_or(0.0),
        label,
        color,
    };
    if !figures.sound {
        return vec![bar(figures.what.clone(), None, "not sound".into())];
    }
    if line.rate.is_none() {
        let label = figures.msgs_per_s.map_or(String::new(), speed) + &times;
        return vec![bar(figures.what.clone(), figures.msgs_per_s, label)];
    }
    let label = |of: Option<f64>, times: &str| of.map_or(String::new(), |of| format!("{of:.0}{times}"));
    vec![
        bar(format!("{}, p50", figures.what), figures.p50_us, label(figures.p50_us, &times)),
        bar(format!("{}, p99", figures.what), figures.p99_us, label(figures.p99_us, "")),
    ]
}
