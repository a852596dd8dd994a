//! `sweep --explain`: what would be run, and how the strategy was compiled.

use polybolos_engine::kernels::program::{NodeId, Op, Program, Shape};
use polybolos_engine::kernels::simd::Isa;
use polybolos_engine::kernels::sweep::SimulationPath;
use polybolos_engine::space::ParamSpace;
use polybolos_plan::unit::SweepJob;
use serde_json::json;

use crate::commands::{Style, sweep};
use crate::error::CliError;
use crate::output::{self, number_cell, thousands};

/// How often a node is evaluated in a grid: once per distinct combination of the parameters it depends on.
fn evaluations(program: &Program, space: &ParamSpace, node: NodeId) -> u64 {
    let counts = program.node(node).params.iter().filter_map(|index| space.params().get(index));
    counts.map(|param| param.values.len()).fold(1, u64::saturating_mul)
}

pub(crate) fn run(
    job: &SweepJob,
    unit_rows: Option<u64>,
    threads: usize,
    gpus: usize,
    style: Style,
) -> Result<(), CliError> {
    let (program, space) = (job.strategy.program(), job.strategy.space());
    let ids = || (0..program.nodes.len()).filter_map(|index| u32::try_from(index).ok().map(NodeId));
    let param_names = |node: NodeId| -> Vec<&str> {
        let params = program.node(node).params.iter();
        params.filter_map(|index| Some(space.params().get(index)?.name.as_str())).collect()
    };
    let bars: u64 = job.spec.series.iter().map(|series| series.bars).sum();
    let units = sweep::unit_count(job, unit_rows);
    let bar_combos = space.len().saturating_mul(bars);
    let (path, isa) = (SimulationPath::of(program), Isa::detect());
    let precision = job.spec.request.precision;
    let backend = if gpus == 0 { "cpu" } else { "cpu and cuda, whichever is faster" };
    if style.json {
        let nodes: Vec<_> = ids()
            .map(|id| {
                let node = program.node(id);
                json!({
                    "node": id.0,
                    "operation": operation(node.op, space),
                    "arguments": node.args.iter().map(|arg| arg.0).collect::<Vec<_>>(),
                    "series": node.shape == Shape::Series,
                    "timeframe_ms": timeframe_ms(program, id),
                    "depends_on": param_names(id),
                    "evaluations": evaluations(program, space, id),
                })
            })
            .collect();
        return output::json(&json!({
            "sweep_id": job.spec.id(&job.strategy),
            "grid_rows": space.len(),
            "symbols": job.spec.series.len(),
            "bars": bars,
            "units": units,
            "bar_combos_at_most": bar_combos,
            "threads": threads,
            "backend": backend,
            "precision": precision.name(),
            "path": path.name(),
            "path_meaning": path.meaning(),
            "instructions": isa.name(),
            "nodes": nodes,
        }));
    }
    let mut table = output::table(&["node", "operation", "of", "depends on", "evaluated"]);
    for id in ids() {
        let node = program.node(id);
        let args: Vec<String> = node.args.iter().map(|arg| format!("#{}", arg.0)).collect();
        let times = if node.shape == Shape::Scalar {
            "as needed".to_owned()
        } else {
            thousands(evaluations(program, space, id))
        };
        table.add_row(vec![
            number_cell(format!("#{}", id.0)),
            operation(node.op, space).into(),
            args.join(" ").into(),
            param_names(id).join(", ").into(),
            number_cell(times),
        ]);
    }
    output::text(&format!(
        "{}\n{table}\n{} grid rows x {} symbols ({} bars) = at most {} bar-combinations\n\
         {units} units on {threads} threads, backend {backend}, {isa} instructions, signals in {precision}; a series is evaluated once per distinct \
         value of what it depends on\npath {}: {}",
        job.spec.id(&job.strategy),
        thousands(space.len()),
        job.spec.series.len(),
        thousands(bars),
        thousands(bar_combos),
        path.name(),
        path.meaning(),
    ))
}

fn timeframe_ms(program: &Program, id: NodeId) -> Option<i64> {
    let frame = usize::from(program.node(id).frame).checked_sub(1)?;
    program.frames_ms.get(frame).copied()
}

fn operation(op: Op, space: &ParamSpace) -> String {
    match op {
        Op::Const(value) => value.to_string(),
        Op::Param(index) => {
            let name = space.params().get(index as usize).map_or("?", |param| param.name.as_str());
            format!("parameter {name}")
        }
        Op::Column(column) => column.name().to_owned(),
        Op::Indicator(def) => def.name.to_owned(),
        Op::Output(index) => format!("output {index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}
