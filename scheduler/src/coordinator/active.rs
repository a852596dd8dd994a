//! A sweep at work as the coordinator sees it: its job, its cut into units, how fast it goes; and statuses for people.

use std::sync::Arc;

use polybolos_engine::sweep::SweepSpec;
use polybolos_plan::catalogue::sweep_folder;
use polybolos_plan::unit::SweepJob;
use polybolos_proto::cluster::unit_report::Outcome;
use polybolos_proto::cluster::{self as wire, UnitName, UnitReport};
use polybolos_proto::sweep::Spec;
use prost::Message as _;

use super::fleet::Fleet;
use super::meter::Meter;
use crate::catalogue::SweepRow;
use crate::driver::{self, SweepState};
use crate::query::Roots;

/// See the module.
pub(super) struct ActiveSweep {
    pub(super) job: Arc<SweepJob>,
    pub(super) owner: String,
    /// Grid rows of a unit: the cut never changes once the sweep was submitted.
    pub(super) unit_rows: u64,
    pub(super) units: u64,
    pub(super) submitted_ms: i64,
    pub(super) started_ms: Option<i64>,
    /// Of units that were reported finished.
    finished_bar_combos: u64,
    pub(super) kernel_seconds: f64,
    pub(super) ran_on_gpu: bool,
    /// Bar-combinations done, those inside running units included.
    done_bar_combos: u64,
    units_running: u64,
    meter: Meter,
}

impl ActiveSweep {
    pub(super) fn new(job: Arc<SweepJob>, owner: String, unit_rows: u64, submitted_ms: i64) -> ActiveSweep {
        let units = job.spec.unit_count(job.strategy.space().len(), Some(unit_rows));
        ActiveSweep {
            job,
            owner,
            unit_rows,
            units,
            submitted_ms,
            started_ms: None,
            finished_bar_combos: 0,
            kernel_seconds: 0.0,
            ran_on_gpu: false,
            done_bar_combos: 0,
            units_running: 0,
            meter: Meter::default(),
        }
    }

    /// A sweep as the catalogue has it.
    pub(super) fn of_row(row: &SweepRow, spec: &[u8], roots: &Roots) -> Result<ActiveSweep, String> {
        let spec = Spec::decode(spec).map_err(|error| format!("the specification is damaged: {error}"))?;
        let spec = SweepSpec::try_from(spec).map_err(|error| error.to_string())?;
        let job = SweepJob::new(spec, roots.data.clone(), Some(roots.results.clone()))
            .map_err(|error| error.to_string())?;
        if job.spec.id(&job.strategy) != row.sweep.as_str() {
            return Err("another version of polybolos computed it; submit it again".to_owned());
        }
        let mut active = ActiveSweep::new(Arc::new(job), row.owner.clone(), row.unit_rows, row.submitted_ms);
        active.started_ms = row.started_ms;
        Ok(active)
    }

    /// The specification for the catalogue.
    pub(super) fn spec_bytes(&self) -> Vec<u8> {
        Spec::from(&self.job.spec).encode_to_vec()
    }

    /// What was asked for, for the catalogue.
    pub(super) fn request_bytes(&self) -> Vec<u8> {
        polybolos_proto::sweep::Request::from(&self.job.spec.request).encode_to_vec()
    }

    /// Bars over all symbols.
    pub(super) fn bars(&self) -> u64 {
        self.job.spec.series.iter().map(|series| series.bars).sum()
    }

    /// The number of a unit by its name.
    pub(super) fn number(&self, name: &UnitName) -> Option<u64> {
        let rows = self.job.strategy.space().len();
        self.job.spec.unit_number(rows, Some(self.unit_rows), &name.symbol, name.row_from)
    }

    /// The symbol and the first row of a unit.
    pub(super) fn name(&self, unit: u64) -> Option<(String, u64)> {
        let unit = self.job.spec.unit_at(self.job.strategy.space().len(), Some(self.unit_rows), unit)?;
        Some((self.job.spec.series.get(unit.series)?.symbol.clone(), unit.rows.start))
    }

    /// Counts what an ended unit did.
    pub(super) fn ended(&mut self, report: &UnitReport) {
        if report.outcome() == Outcome::Computed {
            self.finished_bar_combos += report.bar_combos;
        }
        self.kernel_seconds += report.kernel_seconds;
        self.ran_on_gpu |= report.on_gpu && report.outcome() == Outcome::Computed;
    }

    /// Marks how far it is: bar-combinations done inside running units, and how many units run.
    pub(super) fn mark(&mut self, (bar_combos, units): (u64, u64), now_ms: i64) {
        self.done_bar_combos = self.finished_bar_combos + bar_combos;
        self.units_running = units;
        self.meter.mark(now_ms, self.done_bar_combos);
    }

    pub(super) fn status(
        &self,
        status: &driver::SweepStatus,
        fleet: &Fleet,
        roots: &Roots,
        now_ms: i64,
    ) -> wire::SweepStatus {
        let rate = self.meter.per_second(now_ms);
        let rows = self.job.strategy.space().len();
        let whole = rows as f64 * self.bars() as f64;
        let left =
            status.units_total.saturating_sub(status.units_done) as f64 / status.units_total.max(1) as f64;
        wire::SweepStatus {
            sweep_id: status.sweep.as_str().to_owned(),
            state: state_to_wire(status.state).into(),
            owner: status.owner.clone(),
            units_total: status.units_total,
            units_done: status.units_done,
            units_reused: status.units_reused,
            units_failed: status.units_failed,
            units_running: self.units_running,
            grid_rows: rows,
            symbols: self.job.spec.series.len() as u32,
            bars: self.bars(),
            bar_combos_done: self.done_bar_combos,
            bar_combos_per_second: rate,
            eta_seconds: (rate > 0.0).then(|| whole * left / rate),
            submitted_ms: self.submitted_ms,
            started_ms: self.started_ms,
            finished_ms: None,
            failures: status.failures.iter().map(|failure| self.failure(failure)).collect(),
            message: status.message.clone(),
            executors: fleet.statuses(now_ms),
            kernel_seconds: self.kernel_seconds,
            results: results_folder(status.sweep.as_str(), roots),
        }
    }

    fn failure(&self, failure: &driver::UnitFailure) -> wire::UnitFailure {
        let unit = self.job.spec.unit_at(self.job.strategy.space().len(), Some(self.unit_rows), failure.unit);
        let series = unit.as_ref().and_then(|unit| self.job.spec.series.get(unit.series));
        wire::UnitFailure {
            symbol: series.map_or_else(String::new, |series| series.symbol.clone()),
            row_from: unit.as_ref().map_or(0, |unit| unit.rows.start),
            row_to: unit.as_ref().map_or(0, |unit| unit.rows.end),
            attempts: failure.attempts,
            reason: failure.reason.clone(),
        }
    }
}

/// A failed unit by name; where the sweep was another version's its units have only numbers here.
pub(super) fn failure_of(active: Option<&ActiveSweep>, failure: &driver::UnitFailure) -> wire::UnitFailure {
    active.map_or_else(
        || wire::UnitFailure {
            symbol: format!("unit {}", failure.unit),
            attempts: failure.attempts,
            reason: failure.reason.clone(),
            ..wire::UnitFailure::default()
        },
        |active| active.failure(failure),
    )
}

fn results_folder(sweep_id: &str, roots: &Roots) -> String {
    sweep_folder(&roots.results, sweep_id).to_string()
}

fn state_to_wire(state: SweepState) -> wire::SweepState {
    match state {
        SweepState::Queued => wire::SweepState::Queued,
        SweepState::Running => wire::SweepState::Running,
        SweepState::Writing => wire::SweepState::Writing,
        SweepState::Complete => wire::SweepState::Complete,
        SweepState::Failed => wire::SweepState::Failed,
        SweepState::Cancelled => wire::SweepState::Cancelled,
    }
}

/// The status of a sweep that is not at work.
pub(super) fn status_of_row(
    row: &SweepRow,
    failures: Vec<wire::UnitFailure>,
    roots: &Roots,
) -> wire::SweepStatus {
    wire::SweepStatus {
        sweep_id: row.sweep.as_str().to_owned(),
        state: state_to_wire(row.state).into(),
        owner: row.owner.clone(),
        units_total: row.units,
        units_done: row.units_done,
        units_reused: row.units_reused,
        units_failed: row.units_failed,
        grid_rows: row.grid_rows,
        symbols: row.symbols,
        bars: row.bars,
        submitted_ms: row.submitted_ms,
        started_ms: row.started_ms,
        finished_ms: row.finished_ms,
        failures,
        message: row.message.clone(),
        results: results_folder(row.sweep.as_str(), roots),
        ..wire::SweepStatus::default()
    }
}
