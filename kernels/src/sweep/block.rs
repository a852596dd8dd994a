//! Many combinations at once: signals tile by tile, then each combination's account.

use std::marker::PhantomData;
use std::sync::atomic::AtomicBool;

use super::books::EIGHT;
use super::cluster::{Budget, Cluster, Instances, scalar_rows, varying};
use super::compile::TileProgram;
use super::crosses::{CrossSweep, crosses_of};
use super::deals::{Deals, Memo};
use super::eight::EightAccounts;
use super::groups::GroupMarket;
use super::jumps::Jumps;
use super::limits::{Limit, TimeLimit, Unlimited};
use super::market::Market;
use super::route::SimulationPath;
use super::rules::{Rules, Sizing};
use super::signal_accounts::SignalSweep;
use super::signal_table::SignalTable;
use super::signals::Walk;
use crate::evaluate::Evaluator;
use crate::program::Program;
use crate::sim::{Fill, Side, SimConfig};
use crate::simd::{Isa, Lanes};
use crate::stats::Stats;

/// Bytes of the tiles of shared steps: they should stay in the second-level cache.
const TILE_BYTES: usize = 512 << 10;

/// Bytes of the series that are made tile by tile: the first of them must not have left the caches when the last is compared.
const TILE_LEAVES: usize = 8 << 20;

/// Combinations of which fewer are not worth a table of what they share.
const FEW: usize = 64;

/// Why a block stopped.
pub(super) enum Stop {
    Cancelled,
    /// Something that one combination at a time reports better.
    Failed,
}

/// What a block needs of its sweep.
pub(super) struct BlockContext<'s, 'a> {
    pub(super) program: &'a Program,
    pub(super) config: &'s SimConfig,
    pub(super) market: &'s Market<'a>,
    pub(super) evaluator: &'s mut Evaluator<'a>,
    pub(super) isa: Isa,
    pub(super) leaf_bytes: usize,
    pub(super) cancel: &'s AtomicBool,
}

impl BlockContext<'_, '_> {
    /// Simulates the combinations in the rows of `values`. A result is `None` where a fold is unfit.
    pub(super) fn run(
        &mut self,
        path: SimulationPath,
        values: &[f64],
        rules: &[Rules],
        out: &mut [Option<Stats>],
    ) -> Result<(), Stop> {
        let width = self.program.params;
        let tiles = TileProgram::new(self.program, varying(values, width)).map_err(|_| Stop::Failed)?;
        let instances = Instances::new(self.program, &tiles, values, rules.len());
        let scalars = scalar_rows(self.program, &tiles, values, rules.len()).map_err(|_| Stop::Failed)?;
        let leaf = self.market.bars.len() * size_of::<f64>();
        let budget =
            Budget { bytes: self.leaf_bytes, leaf, tile_leaves: TILE_LEAVES, tile_bytes: TILE_BYTES };
        let mut clusters = Vec::new();
        instances.split((0..rules.len() as u32).collect(), &tiles, budget, &mut clusters);
        clusters.reverse();
        while let Some(rows) = clusters.pop() {
            let mut cluster = Cluster::new(&tiles, &instances, &scalars, rows);
            let has_fitted = cluster.load(self.evaluator, values, width, budget, (self.isa, self.cancel))?
                && self.simulate(path, &mut cluster, rules, out)?;
            if !has_fitted {
                let middle = cluster.rows.len() / 2;
                clusters.push(cluster.rows.split_off(middle));
                clusters.push(cluster.rows);
            }
        }
        Ok(())
    }

    /// Simulates a cluster; gives whether it fitted.
    fn simulate(
        &self,
        path: SimulationPath,
        cluster: &mut Cluster<'_>,
        rules: &[Rules],
        out: &mut [Option<Stats>],
    ) -> Result<bool, Stop> {
        let (market, config, cancel) = (self.market, self.config, self.cancel);
        if let Some(crosses) = crosses_of(path, cluster, rules) {
            return self.isa.dispatch(CrossSweep { market, config, cancel, cluster, crosses, rules, out });
        }
        match path {
            SimulationPath::Jumps => self.jumps(cluster, rules, out),
            SimulationPath::Signals => self.signals::<Unlimited>(cluster, rules, out),
            SimulationPath::Timed => self.signals::<TimeLimit>(cluster, rules, out),
        }
    }

    fn signals<T: Limit>(
        &self,
        cluster: &mut Cluster<'_>,
        rules: &[Rules],
        out: &mut [Option<Stats>],
    ) -> Result<bool, Stop> {
        let (market, config, cancel) = (self.market, self.config, self.cancel);
        let limit = PhantomData::<T>;
        self.isa.dispatch(SignalSweep { market, config, cancel, cluster, rules, out, limit })
    }

    fn jumps(
        &self,
        cluster: &mut Cluster<'_>,
        rules: &[Rules],
        out: &mut [Option<Stats>],
    ) -> Result<bool, Stop> {
        let side = cluster.tiles.side();
        let bars = self.market.bars.len();
        let mut signals = SignalTable::new(cluster, bars);
        let walk = Walk { cluster, bars, cancel: self.cancel, sink: &mut signals };
        if !self.isa.dispatch(walk)? {
            return Ok(false);
        }
        let (market, config, cancel) = (self.market, self.config, self.cancel);
        let (rows, signals) = (cluster.rows.as_slice(), &signals);
        let of = GroupMarket { market, config, rules, rows, signals };
        let isa = self.isa;
        let is_remembered = side != Some(Side::Long) && rows.len() >= FEW;
        let memo = if is_remembered { Memo::new(bars) } else { Memo::none() };
        isa.dispatch(Jumps { of, side, isa, cancel, out, memo })
    }
}

/// Bar of a fill decided at the close of bar `t`, as an offset, and the prices it is made at.
pub(super) fn fills<'m>(market: &'m Market<'_>, config: &SimConfig) -> (usize, &'m [f64]) {
    match config.fill {
        Fill::NextOpen => (1, &market.bars.open),
        Fill::Close => (0, &market.bars.close),
    }
}

/// Side, bar and raw price of the entry of a position that stays open.
pub(super) type Open = Option<(Side, usize, f64)>;

/// Makes the trades of eight combinations, on one side or on both, and gives their statistics, `None` where a fold is unfit.
#[inline(always)]
pub(super) fn measure_sides<L: Lanes, D: Deals>(
    lanes: L,
    market: (&Market<'_>, &SimConfig),
    side: Option<Side>,
    sizing: [Sizing; EIGHT],
    (deals, memo): (impl Fn() -> D, &mut Memo),
    open: impl Fn(&D, usize) -> Open,
) -> [Option<Stats>; EIGHT] {
    let all_in = sizing.map(|sizing| side == Some(Side::Long) && sizing == Sizing::Equity(1.0));
    let mut out = [const { None }; EIGHT];
    // Which sums a combination has must not depend on its neighbours.
    if all_in.contains(&true) {
        let stats =
            EightAccounts::<L, true>::measure(lanes, market, side, sizing, (&mut deals(), memo), &open);
        for i in (0..EIGHT).filter(|&i| all_in[i]) {
            out[i] = stats[i];
        }
    }
    if all_in.contains(&false) {
        let stats =
            EightAccounts::<L, false>::measure(lanes, market, side, sizing, (&mut deals(), memo), &open);
        for i in (0..EIGHT).filter(|&i| !all_in[i]) {
            out[i] = stats[i];
        }
    }
    out
}
