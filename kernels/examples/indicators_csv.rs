//! Indicator values of bars from standard input, for comparison with other libraries.
//!
//! `indicators_csv 'sma 20' 'macd 12 26 9' < bars.csv`: each argument is an indicator of the table with its
//! parameters; the CSV has a header and the columns `open,high,low,close`. An indicator of any series reads
//! `close`. Writes one row per bar and one column per output, with every digit; an undefined value is an empty
//! field.

use std::error::Error;
use std::io::{self, BufWriter, Read, Write};

use polybolos_kernels::indicators::INDICATORS;

fn main() -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let mut columns: [Vec<f64>; 4] = Default::default();
    for (row, line) in text.lines().enumerate().skip(1) {
        let fields: Vec<f64> = line
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("line {}: {error}", row + 1))?;
        if fields.len() != columns.len() {
            return Err(
                format!("line {}: {} fields, wanted open,high,low,close", row + 1, fields.len()).into()
            );
        }
        for (column, value) in columns.iter_mut().zip(fields) {
            column.push(value);
        }
    }
    let [_, high, low, close] = &columns;

    let mut names = Vec::new();
    let mut values = Vec::new();
    for request in std::env::args().skip(1) {
        let mut words = request.split_whitespace();
        let name = words.next().ok_or("an argument is empty: name an indicator")?;
        let def = INDICATORS.iter().find(|def| def.name == name).ok_or(format!("no indicator {name}"))?;
        let params: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>()?;
        def.check_params(&params)?;
        let input = |name: &&str| match *name {
            "high" => high.as_slice(),
            "low" => low,
            _ => close,
        };
        let inputs: Vec<&[f64]> = def.inputs.iter().map(input).collect();
        names.extend(def.outputs.iter().map(|output| format!("{output} {}", request)));
        values.extend(def.compute(&inputs, &params));
    }

    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "{}", names.join(","))?;
    for t in 0..close.len() {
        let field =
            |series: &Vec<f64>| if series[t].is_nan() { String::new() } else { series[t].to_string() };
        writeln!(out, "{}", values.iter().map(field).collect::<Vec<_>>().join(","))?;
    }
    Ok(out.flush()?)
}
