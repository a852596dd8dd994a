//! Drawing a [`Heatmap`] with characters: half blocks in colour, shades without.
//!
//! A map wider or higher than the canvas is binned: a drawn cell is then the mean of the cells behind it. The brighter,
//! the better.

use std::fmt::Write as _;

use super::{Axis, Heatmap};
use crate::output;

/// Room to draw in and how many colours there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Canvas {
    columns: usize,
    lines: usize,
    true_colour: bool,
}

/// Shades from worst to best where there are no colours. A blank is "no value".
const SHADES: [char; 9] = ['.', ':', '-', '=', '+', '*', '#', '%', '@'];

/// Marks the best cell where there are no colours; no shade looks like it.
const MARK: char = 'X';

/// Dark violet to yellow, equally far apart to the eye, and readable by the colour-blind.
const RAMP: [[f64; 3]; 6] = [
    [68.0, 1.0, 84.0],
    [65.0, 68.0, 135.0],
    [42.0, 120.0, 142.0],
    [34.0, 168.0, 132.0],
    [122.0, 209.0, 81.0],
    [253.0, 231.0, 37.0],
];

/// The same ramp in the palette of 256 colours, each brighter than the one before.
const PALETTE: [u8; 14] = [53, 54, 55, 24, 25, 30, 36, 42, 77, 113, 149, 185, 191, 227];

const RESET: &str = "\x1b[0m";

/// Where a pipe goes is unknown, so it gets the classic width.
const PIPE_COLUMNS: usize = 80;

/// Lines of a map without its axis and legend.
const LINES: usize = 26;

/// Columns of a cell at most, so that a small grid stays a map and is not a wall.
const MAX_CELL_COLUMNS: usize = 8;

pub(super) fn canvas() -> Canvas {
    let columns = output::terminal_columns().unwrap_or(PIPE_COLUMNS).clamp(40, 200);
    Canvas { columns, lines: LINES, true_colour: output::true_colour() }
}

pub(super) fn draw(map: &Heatmap, colours: bool, canvas: Canvas) -> String {
    let Some(scale) = Scale::new(map) else {
        return format!(
            "{}: {} is undefined in every row; there is nothing to draw",
            map.sweep_id, map.metric
        );
    };
    let ink = Ink { colours, true_colour: canvas.true_colour };
    let mut out = title(map);
    match &map.y {
        Some(y) => grid(map, y, &scale, ink, canvas, &mut out),
        None => bars(map, &scale, ink, canvas, &mut out),
    }
    legend(map, &scale, ink, &mut out);
    out
}

fn title(map: &Heatmap) -> String {
    let symbols = match map.symbols.as_slice() {
        [one] => one.clone(),
        many => format!("mean of {} symbols", many.len()),
    };
    format!("{} of {}, {symbols}\n", map.metric, map.sweep_id)
}

/// From values to brightness.
struct Scale {
    least: f64,
    most: f64,
    lower_is_better: bool,
}

impl Scale {
    fn new(map: &Heatmap) -> Option<Scale> {
        let values = || map.cells.iter().flatten().flatten().copied();
        map.best?;
        Some(Scale {
            least: values().fold(f64::INFINITY, f64::min),
            most: values().fold(f64::NEG_INFINITY, f64::max),
            lower_is_better: map.lower_is_better,
        })
    }

    /// 0 for the worst value, 1 for the best; 1 if all are equal.
    fn brightness(&self, value: f64) -> f64 {
        let span = self.most - self.least;
        let share = if span > 0.0 { ((value - self.least) / span).clamp(0.0, 1.0) } else { 1.0 };
        if self.lower_is_better && span > 0.0 { 1.0 - share } else { share }
    }
}

/// How a value becomes characters.
#[derive(Debug, Clone, Copy)]
struct Ink {
    colours: bool,
    true_colour: bool,
}

impl Ink {
    fn shade(brightness: f64) -> char {
        let index = (brightness * SHADES.len() as f64) as usize;
        SHADES.get(index).copied().unwrap_or('@')
    }

    /// The colour of a brightness as the tail of an escape code: `2;R;G;B` or `5;N`.
    fn colour(self, brightness: f64) -> String {
        let brightness = brightness.clamp(0.0, 1.0);
        if !self.true_colour {
            let index = (brightness * PALETTE.len() as f64) as usize;
            return format!("5;{}", PALETTE[index.min(PALETTE.len() - 1)]);
        }
        let place = brightness * (RAMP.len() - 1) as f64;
        let index = (place as usize).min(RAMP.len() - 2);
        let share = place - index as f64;
        let [red, green, blue] = std::array::from_fn(|part| {
            (RAMP[index][part] + share * (RAMP[index + 1][part] - RAMP[index][part])) as u8
        });
        format!("2;{red};{green};{blue}")
    }
}

/// A value of a drawn cell and whether the best cell is behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Pixel {
    value: Option<f64>,
    is_best: bool,
}

/// Where bin `index` of `bins` begins among `count` values.
fn bin_start(index: usize, bins: usize, count: usize) -> usize {
    index * count / bins
}

/// The map reduced to `width` x `height` bins, row by row, the smallest `y` first.
fn pixels(map: &Heatmap, width: usize, height: usize) -> Vec<Vec<Pixel>> {
    let (columns, rows) = (map.x.values.len(), map.cells.len());
    let bin = |x: usize, y: usize| {
        let across = bin_start(x, width, columns)..bin_start(x + 1, width, columns);
        let upwards = bin_start(y, height, rows)..bin_start(y + 1, height, rows);
        let is_best = map.best.is_some_and(|best| across.contains(&best.x) && upwards.contains(&best.y));
        let cells = map.cells.get(upwards).unwrap_or_default().iter();
        let values: Vec<f64> =
            cells.flat_map(|row| row.get(across.clone()).unwrap_or_default()).flatten().copied().collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Pixel { value: (!values.is_empty()).then_some(mean), is_best }
    };
    (0..height).map(|y| (0..width).map(|x| bin(x, y)).collect()).collect()
}

fn grid(map: &Heatmap, y: &Axis, scale: &Scale, ink: Ink, canvas: Canvas, out: &mut String) {
    let labels: Vec<String> = y.values.iter().copied().map(label).collect();
    let margin = labels.iter().map(String::len).max().unwrap_or(0).max(y.parameter.len()) + 2;
    let room = canvas.columns.saturating_sub(margin).max(8);
    let width = map.x.values.len().min(room);
    let cell = (room / width).clamp(1, MAX_CELL_COLUMNS);
    // A half block holds two cells, one above the other.
    let rows_in_line = if ink.colours { 2 } else { 1 };
    let height = y.values.len().min(canvas.lines * rows_in_line);
    let pixels = pixels(map, width, height);
    let rows: Vec<usize> = (0..height).rev().collect();
    let _ = writeln!(out, "{:>1$} |", y.parameter, margin - 2);
    let lines: Vec<&[usize]> = rows.chunks(rows_in_line).collect();
    let step = lines.len().div_ceil(8);
    for (index, line) in lines.iter().enumerate() {
        let is_labelled = index % step == 0 || index + 1 == lines.len();
        let first = line.first().map_or(0, |&row| bin_start(row, height, labels.len()));
        let text = if is_labelled { labels.get(first).map_or("", String::as_str) } else { "" };
        let _ = write!(out, "{text:>0$} |", margin - 2);
        let row = |at: usize| line.get(at).and_then(|&row| pixels.get(row));
        for x in 0..width {
            let pixel = |at: usize| row(at).and_then(|row| row.get(x)).copied();
            out.push_str(&cell_text(pixel(0).unwrap_or_default(), pixel(1), cell, scale, ink));
        }
        let end = out.trim_end_matches(' ').len();
        out.truncate(end);
        out.push('\n');
    }
    x_axis(&map.x, width, cell, margin, out);
    if width < map.x.values.len() || height < y.values.len() {
        let _ = writeln!(
            out,
            "{} x {} values drawn as {width} x {height}: a cell is the mean of its neighbours",
            map.x.values.len(),
            y.values.len()
        );
    }
}

/// One drawn cell: `upper` over `lower` in a half block, or `upper` alone.
fn cell_text(upper: Pixel, lower: Option<Pixel>, columns: usize, scale: &Scale, ink: Ink) -> String {
    let is_best = upper.is_best || lower.is_some_and(|lower| lower.is_best);
    if !ink.colours {
        let shade = upper.value.map_or(' ', |value| Ink::shade(scale.brightness(value)));
        let shown = if is_best { MARK } else { shade };
        return shown.to_string().repeat(columns);
    }
    let colour = |pixel: Option<Pixel>| {
        let value = pixel.and_then(|pixel| pixel.value)?;
        Some(ink.colour(scale.brightness(value)))
    };
    if is_best {
        let own = if upper.is_best { Some(upper) } else { lower };
        let back = colour(own).map_or_else(String::new, |colour| format!("\x1b[48;{colour}m"));
        let room = " ".repeat((columns - 1) / 2);
        let rest = " ".repeat(columns / 2);
        return format!("{back}\x1b[1;38;5;196m{room}\u{25c6}{rest}{RESET}");
    }
    let (block, codes) = match (colour(Some(upper)), colour(lower)) {
        (None, None) => return " ".repeat(columns),
        (Some(upper), None) => ('\u{2580}', format!("\x1b[38;{upper}m")),
        (None, Some(lower)) => ('\u{2584}', format!("\x1b[38;{lower}m")),
        (Some(upper), Some(lower)) => ('\u{2580}', format!("\x1b[38;{upper};48;{lower}m")),
    };
    format!("{codes}{}{RESET}", block.to_string().repeat(columns))
}

/// The line under the map, the values under it as far as they fit, and the parameter's name.
fn x_axis(x: &Axis, width: usize, cell: usize, margin: usize, out: &mut String) {
    let _ = writeln!(out, "{}+{}", " ".repeat(margin - 1), "-".repeat(width * cell));
    let mut line = " ".repeat(margin);
    let total = margin + width * cell;
    for bin in 0..width {
        let text =
            x.values.get(bin_start(bin, width, x.values.len())).copied().map(label).unwrap_or_default();
        let start = margin + bin * cell + (cell.saturating_sub(text.len())) / 2;
        let is_free = line.len() == margin || line.len() + 2 <= start;
        if is_free && start + text.len() <= total.max(margin + text.len()) {
            line = format!("{line:<start$}{text}");
        }
    }
    let _ = writeln!(out, "{}  {}", line.trim_end(), x.parameter);
}

/// A grid of one parameter: a bar for each value, or for each bin of values.
fn bars(map: &Heatmap, scale: &Scale, ink: Ink, canvas: Canvas, out: &mut String) {
    let count = map.x.values.len();
    let height = count.min(canvas.lines);
    let bins = pixels(map, height, 1).pop().unwrap_or_default();
    let name =
        |bin: usize| map.x.values.get(bin_start(bin, height, count)).copied().map(label).unwrap_or_default();
    let margin = (0..height).map(|bin| name(bin).len()).max().unwrap_or(0).max(map.x.parameter.len());
    let room = canvas.columns.saturating_sub(margin + 16).max(8) as f64;
    let (low, high) = (scale.least.min(0.0), scale.most.max(0.0));
    let place = |value: f64| if high > low { ((value - low) / (high - low) * room) as usize } else { 0 };
    let zero = place(0.0);
    let _ = writeln!(out, "{:>margin$} |", map.x.parameter);
    for (bin, pixel) in bins.iter().enumerate() {
        let _ = write!(out, "{:>margin$} |", name(bin));
        if let Some(value) = pixel.value {
            let at = place(value);
            let bar = if ink.colours { '\u{2588}' } else { Ink::shade(scale.brightness(value)) };
            let bar = bar.to_string().repeat(at.abs_diff(zero).max(1));
            let (on, off) = match ink.colours {
                true => (format!("\x1b[38;{}m", ink.colour(scale.brightness(value))), RESET),
                false => (String::new(), ""),
            };
            let mark = if pixel.is_best { " <- best" } else { "" };
            let _ = write!(
                out,
                "{}{on}{bar}{off} {}{mark}",
                " ".repeat(at.min(zero)),
                output::short_number(value)
            );
        }
        out.push('\n');
    }
    if height < count {
        let _ = writeln!(out, "{count} values drawn as {height}: a bar is the mean of its neighbours");
    }
}

fn legend(map: &Heatmap, scale: &Scale, ink: Ink, out: &mut String) {
    let (worst, best) =
        if scale.lower_is_better { (scale.most, scale.least) } else { (scale.least, scale.most) };
    let steps = if ink.colours { 24 } else { SHADES.len() };
    let ramp: String = (0..steps)
        .map(|step| (step as f64 + 0.5) / steps as f64)
        .map(|brightness| match ink.colours {
            true => format!("\x1b[38;{}m\u{2588}", ink.colour(brightness)),
            false => Ink::shade(brightness).to_string(),
        })
        .collect();
    let end = if ink.colours { RESET } else { "" };
    let _ = write!(out, "{} {ramp}{end} {}", output::short_number(worst), output::short_number(best));
    if let Some(found) = map.best {
        let value = |axis: &Axis, index: usize| {
            let value = axis.values.get(index).copied().map(label).unwrap_or_default();
            format!("{}={value}", axis.parameter)
        };
        let mark = if map.y.is_none() {
            "best"
        } else if ink.colours {
            "\u{25c6} best"
        } else {
            "X best"
        };
        let y = map.y.as_ref().map_or_else(String::new, |axis| format!(" {}", value(axis, found.y)));
        let _ =
            write!(out, "   {mark}: {}{y}, {}", value(&map.x, found.x), output::short_number(found.value));
    }
    out.push('\n');
}

/// A parameter's value on an axis.
fn label(value: f64) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::Best;
    use super::*;

    const CANVAS: Canvas = Canvas { columns: 60, lines: LINES, true_colour: false };

    fn axis(parameter: &str, count: u32) -> Axis {
        Axis { parameter: parameter.to_owned(), values: (1..=count).map(f64::from).collect() }
    }

    /// A hill with its top at the middle; the corner has no rows.
    fn hill(width: u32, height: u32) -> Heatmap {
        let value = |x: u32, y: u32| -f64::from(x.abs_diff(width / 2)) - f64::from(y.abs_diff(height / 2));
        let cell = |x: u32, y: u32| (x + y > 0).then(|| value(x, y));
        let middle = (width as usize / 2, height as usize / 2);
        Heatmap {
            sweep_id: "hill-0".to_owned(),
            symbols: vec!["A".to_owned()],
            metric: "sharpe",
            lower_is_better: false,
            x: axis("fast", width),
            y: Some(axis("slow", height)),
            cells: (0..height).map(|y| (0..width).map(|x| cell(x, y)).collect()).collect(),
            best: Some(Best { x: middle.0, y: middle.1, value: 0.0 }),
        }
    }

    #[test]
    fn a_small_grid_is_drawn_cell_by_cell_with_the_origin_below_left() {
        let text = draw(&hill(5, 3), false, CANVAS);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "sharpe of hill-0, A");
        assert_eq!(lines[1], "slow |");
        assert_eq!(lines[2], "   3 |........========########========........");
        assert!(lines[3].contains("XXXXXXXX"), "{text}");
        assert!(lines[4].starts_with("   1 |        ========"), "{text}");
        assert!(lines[6].ends_with("fast"), "{text}");
        assert!(lines[7].contains("X best: fast=3 slow=2, 0"), "{text}");
    }

    #[test]
    fn a_large_grid_is_binned_and_fits_and_keeps_its_best_cell() {
        let text = draw(&hill(500, 300), false, CANVAS);
        let width = text.lines().filter(|line| line.contains('|')).map(str::len).max();
        assert!(width.is_some_and(|width| width <= 60), "{text}");
        assert!(text.lines().count() <= 32, "{text}");
        assert_eq!(text.matches('X').count(), 2, "one cell and one legend\n{text}");
        assert!(text.contains("500 x 300 values drawn as"), "{text}");
    }

    #[test]
    fn colours_come_with_escape_codes_and_plain_pictures_have_none() {
        for true_colour in [false, true] {
            let canvas = Canvas { true_colour, ..CANVAS };
            let text = draw(&hill(5, 4), true, canvas);
            assert_eq!(text.contains("\x1b[38;2;"), true_colour);
            assert_eq!(text.contains("\x1b[38;5;"), !true_colour);
            assert!(text.contains('\u{2580}') && text.contains('\u{25c6}'));
            for line in text.lines() {
                let codes = line.matches('\x1b').count();
                assert!(
                    codes == 0 || line.trim_end().contains(RESET),
                    "a line that leaves its colour on: {line:?}"
                );
            }
        }
        assert!(!draw(&hill(5, 4), false, CANVAS).contains('\x1b'));
    }

    #[test]
    fn a_grid_of_one_parameter_is_a_bar_chart_around_zero() {
        let map = Heatmap {
            y: None,
            x: axis("n", 3),
            cells: vec![vec![Some(-1.0), None, Some(2.0)]],
            best: Some(Best { x: 2, y: 0, value: 2.0 }),
            ..hill(3, 1)
        };
        let text = draw(&map, false, CANVAS);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].contains("-1.0000"), "{text}");
        assert_eq!(lines[3], "2 |");
        assert!(lines[4].ends_with("2.0000 <- best"), "{text}");
    }

    #[test]
    fn a_metric_that_is_undefined_everywhere_is_said_in_words() {
        let map = Heatmap { cells: vec![vec![None; 3]; 2], best: None, ..hill(3, 2) };
        assert!(draw(&map, true, CANVAS).contains("sharpe is undefined in every row"));
    }

    #[test]
    fn smaller_is_brighter_where_smaller_is_better() {
        let scale = Scale { least: 0.1, most: 0.5, lower_is_better: true };
        assert_eq!((scale.brightness(0.1), scale.brightness(0.5)), (1.0, 0.0));
        let flat = Scale { least: 1.0, most: 1.0, lower_is_better: true };
        assert_eq!(flat.brightness(1.0), 1.0);
    }
}
