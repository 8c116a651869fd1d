//! Bars of the messages per second, as SVG.

use std::fmt::Write as _;

use crate::{
    case::Which,
    report::{Row, is_shown, thousands},
};

const BAR: u32 = 16;
const STEP: u32 = 22;
const LEFT: u32 = 300;
const WIDTH: u32 = 520;
const RIGHT: u32 = 90;

pub fn svg(rows: &[Row]) -> String {
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.case.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let (mut body, mut y) = (String::new(), 24);
    for size in sizes {
        y = group(&mut body, rows, size, y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{y}\" viewBox=\"0 0 {width} {y}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n",
        width = LEFT + WIDTH + RIGHT,
    )
}

/// The bars of one size, from `y` on; where the next begin.
fn group(body: &mut String, rows: &[Row], size: usize, mut y: u32) -> u32 {
    let shown: Vec<(&Row, f64)> = rows
        .iter()
        .filter(|row| row.case.size == size && is_shown(row))
        .filter_map(|row| Some((row, row.per_second?)))
        .collect();
    let most = shown.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let _ = writeln!(
        body,
        "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">{size} bytes, messages per second</text>"
    );
    y += 10;
    for (row, rate) in shown {
        let length = (rate / most * f64::from(WIDTH)).max(1.0);
        let middle = y + BAR - 4;
        let color = match row.case.which {
            Which::Scaleout => "#2a6f97",
            Which::Bare => "#8d99ae",
            Which::SocketioxideRedis | Which::SocketioxideFred => "#e07a5f",
        };
        let _ = writeln!(
            body,
            "<text x=\"{label}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.0}\" height=\"{BAR}\" fill=\"{color}\"/>\
             <text x=\"{value:.0}\" y=\"{middle}\">{rate}</text>",
            label = LEFT - 6,
            name = row.name,
            value = f64::from(LEFT) + length + 5.0,
            rate = thousands(rate),
        );
        y += STEP;
    }
    y + 24
}
