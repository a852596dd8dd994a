//! What goes wrong on purpose: a plan read from YAML, and which of its rules fire.
//!
//! A rule stands for requests (`on`) or for a step of the market (`at_step`). Each rule counts what it matches and draws from
//! a generator of its own, so the same seed and the same requests give the same faults, whatever other rules do.

use polybolos_engine::diagnostic::{Diagnostics, did_you_mean};
use polybolos_engine::strategy::Source;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Deserialize;

use super::routes::ENDPOINTS;
use super::sockets::Kind;
use crate::config::document;
use crate::config::schema::fraction;

/// Stands for every request.
const EVERYTHING: &str = "*";

/// Faults of a run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
pub struct FaultPlan {
    /// The rules, in the order in which they are asked. All that fire act together; of two that say the same the later counts.
    pub faults: Vec<Rule>,
}

/// When something goes wrong, and what.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct Rule {
    /// Methods that the rule is about, by their names in the WebSocket API over either transport: `order.place`; `*` for all.
    #[serde(default)]
    pub on: Vec<String>,
    /// The step of the market that the rule is about instead, from 1: the one that opens the Nth bar, of a live market the Nth close.
    #[schemars(range(min = 1))]
    pub at_step: Option<i64>,
    /// Only the Nth of the matching requests, from 1.
    #[schemars(range(min = 1))]
    pub nth: Option<i64>,
    /// Only every Nth of them.
    #[schemars(range(min = 1))]
    pub every: Option<i64>,
    /// Only with this probability, above 0 and at most 1.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub probability: Option<f64>,
    /// At most so many times.
    #[schemars(range(min = 1))]
    pub count: Option<i64>,
    /// What goes wrong.
    #[serde(rename = "do")]
    pub actions: Vec<Action>,
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The request is looked at so much later, milliseconds.
    DelayMs(#[schemars(range(min = 0, max = 3_600_000))] i64),
    /// The request is done at once and answered so much later, milliseconds.
    AnswerDelayMs(#[schemars(range(min = 0, max = 3_600_000))] i64),
    /// The request is not done; this is the answer.
    Refuse(Failure),
    /// The request is done; this is the answer.
    DoneButAnswered(Failure),
    /// The request is not done, and there is no answer.
    RefuseSilently(Silence),
    /// The request is done, and there is no answer.
    DoneSilently(Silence),
    /// 429 to this and every other request, for so many seconds.
    ThrottleS(#[schemars(range(min = 1, max = 259_200))] i64),
    /// 418 to this and every other request, for so many seconds.
    BanS(#[schemars(range(min = 1, max = 259_200))] i64),
    /// Orders that the request places fill in two parts.
    PartialFill(Partial),
    /// Queries do not find orders that the request places for so long, milliseconds.
    LagMs(#[schemars(range(min = 1, max = 3_600_000))] i64),
    /// The user's events are told so many times more.
    DuplicateEvents(#[schemars(range(min = 1, max = 100))] i64),
    /// The user's events are told so much later, milliseconds.
    DelayEventsMs(#[schemars(range(min = 1, max = 3_600_000))] i64),
    /// Connections of this kind are cut.
    Drop(Connections),
    /// The user's subscriptions are ended by `eventStreamTerminated`.
    EndSubscriptions(bool),
    /// `serverShutdown` is told to every connection.
    AnnounceShutdown(bool),
    /// The server's clock is so much ahead from now on, milliseconds; below 0 behind.
    ClockSkewMs(#[schemars(range(min = -86_400_000, max = 86_400_000))] i64),
}

/// An answer that is no result.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct Failure {
    /// HTTP status.
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// The exchange's code.
    #[schemars(range(min = -9_999, max = 0))]
    pub code: i32,
    /// Its words.
    #[serde(default)]
    pub msg: String,
}

/// How there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// The connection is closed.
    Close,
    /// The connection stays open.
    Hang,
}

/// Kinds of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Connections {
    /// Market streams.
    Market,
    /// The WebSocket API, with the user's events.
    User,
    /// Both.
    All,
}

/// How orders are split.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct Partial {
    /// Part of the quantity that fills at first.
    #[schemars(schema_with = "fraction")]
    pub fraction: Decimal,
    /// Whether the rest expires; else a market order fills it at once in a second trade, and a limit order waits with it.
    #[serde(default)]
    pub expires_rest: bool,
}

impl FaultPlan {
    /// Reads a plan.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn parse(file: &Source) -> Result<FaultPlan, Diagnostics> {
        let (plan, places): (FaultPlan, _) = document::read(file, "a fault plan")?;
        let mut faults = Diagnostics::default();
        for (at, rule) in plan.faults.iter().enumerate() {
            for (name, path) in
                rule.on.iter().enumerate().map(|(index, name)| (name, format!("faults[{at}].on[{index}]")))
            {
                if name != EVERYTHING && !methods().any(|method| method == name) {
                    let hint = did_you_mean(name, methods()).unwrap_or_else(|| {
                        "write a method of the WebSocket API, for instance order.place, or *".to_owned()
                    });
                    let fault = places.of(&path).fault(format!("there is no method `{name}`"));
                    faults.push(fault.hint(hint));
                }
            }
            if rule.on.is_empty() == rule.at_step.is_none() {
                let fault = places.of(&format!("faults[{at}]")).fault("a rule has either `on` or `at_step`");
                faults.push(fault.hint("on: [order.place] is about requests, at_step: 3 about the market"));
            }
            if rule.actions.is_empty() {
                faults.push(places.of(&format!("faults[{at}].do")).fault("nothing goes wrong here"));
            }
        }
        faults.finish(plan)
    }
}

fn methods() -> impl Iterator<Item = &'static str> {
    let session = super::sockets::session_methods();
    ENDPOINTS.iter().map(|endpoint| endpoint.method).filter(|method| !method.is_empty()).chain(session)
}

/// A rule with what it has seen.
#[derive(Debug)]
struct Live {
    rule: Rule,
    seen: i64,
    fired: i64,
    chance: ChaCha8Rng,
}

impl Live {
    fn fires(&mut self) -> bool {
        self.seen += 1;
        let is_turn = self.rule.nth.is_none_or(|nth| self.seen == nth)
            && self.rule.every.is_none_or(|every| self.seen % every == 0)
            && self.rule.count.is_none_or(|count| self.fired < count);
        // Drawn for every match, so that the draws of a rule depend on what it has matched alone.
        let drawn = (self.chance.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let fires = is_turn && self.rule.probability.is_none_or(|probability| drawn < probability);
        self.fired += i64::from(fires);
        fires
    }
}

/// The rules of a run.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Live>);

impl Faults {
    pub(super) fn new(plan: &FaultPlan, seed: u64) -> Faults {
        let live = |(index, rule): (usize, &Rule)| {
            let mut chance = ChaCha8Rng::seed_from_u64(seed);
            chance.set_stream(index as u64);
            Live { rule: rule.clone(), seen: 0, fired: 0, chance }
        };
        Faults(plan.faults.iter().enumerate().map(live).collect())
    }

    /// What goes wrong with a request of this method.
    pub(super) fn request(&mut self, method: &str) -> Trouble {
        self.matching(|rule| rule.on.iter().any(|name| name == EVERYTHING || name == method))
    }

    /// What goes wrong in a step of the market.
    pub(super) fn step(&mut self, number: u64) -> Trouble {
        self.matching(|rule| rule.at_step.is_some_and(|step| u64::try_from(step) == Ok(number)))
    }

    fn matching(&mut self, is_meant: impl Fn(&Rule) -> bool) -> Trouble {
        let mut trouble = Trouble::default();
        for live in self.0.iter_mut().filter(|live| is_meant(&live.rule)) {
            if live.fires() {
                live.rule.actions.iter().for_each(|action| trouble.add(action));
            }
        }
        trouble
    }
}

/// What there is instead of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Instead {
    Answer(Failure),
    Silence(Silence),
}

/// Everything that goes wrong at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Trouble {
    pub(super) delay_ms: u64,
    pub(super) answer_delay_ms: u64,
    /// Instead of doing it.
    pub(super) refused: Option<Instead>,
    /// Instead of its answer, once it is done.
    pub(super) done: Option<Instead>,
    pub(super) throttle_s: Option<i64>,
    pub(super) ban_s: Option<i64>,
    pub(super) partial: Option<Partial>,
    pub(super) lag_ms: i64,
    pub(super) events: Told,
    pub(super) drops: Option<Kind>,
    pub(super) ends_subscriptions: bool,
    pub(super) announces_shutdown: bool,
    pub(super) skew_ms: Option<i64>,
}

/// How the user's events are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Times more than once.
    pub(super) copies: u32,
    pub(super) delay_ms: u64,
}

impl Trouble {
    fn add(&mut self, action: &Action) {
        // The schema keeps them from being negative.
        let whole = |value: i64| u64::try_from(value).unwrap_or(0);
        match action {
            Action::DelayMs(ms) => self.delay_ms += whole(*ms),
            Action::AnswerDelayMs(ms) => self.answer_delay_ms += whole(*ms),
            Action::Refuse(failure) => self.refused = Some(Instead::Answer(failure.clone())),
            Action::DoneButAnswered(failure) => self.done = Some(Instead::Answer(failure.clone())),
            Action::RefuseSilently(silence) => self.refused = Some(Instead::Silence(*silence)),
            Action::DoneSilently(silence) => self.done = Some(Instead::Silence(*silence)),
            Action::ThrottleS(seconds) => self.throttle_s = Some(*seconds),
            Action::BanS(seconds) => self.ban_s = Some(*seconds),
            Action::PartialFill(partial) => self.partial = Some(partial.clone()),
            Action::LagMs(ms) => self.lag_ms = *ms,
            Action::DuplicateEvents(copies) => self.events.copies = u32::try_from(*copies).unwrap_or(1),
            Action::DelayEventsMs(ms) => self.events.delay_ms = whole(*ms),
            Action::Drop(connections) => {
                self.drops = Some(match connections {
                    Connections::Market => Kind::Market,
                    Connections::User => Kind::User,
                    Connections::All => Kind::All,
                });
            }
            Action::EndSubscriptions(ends) => self.ends_subscriptions = *ends,
            Action::AnnounceShutdown(announces) => self.announces_shutdown = *announces,
            Action::ClockSkewMs(ms) => self.skew_ms = Some(*ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use polybolos_engine::strategy::Format;

    use super::*;

    fn parse(text: &str) -> Result<FaultPlan, Diagnostics> {
        FaultPlan::parse(&Source {
            name: "faults.yaml".to_owned(),
            text: text.to_owned(),
            format: Format::Yaml,
        })
    }

    #[test]
    fn a_plan_is_read_and_faults_in_it_have_their_places() {
        let plan = parse(
            "faults:\n  - on: [order.place]\n    nth: 2\n    do:\n      - done_but_answered: {status: 504, code: -1007, msg: Timeout}\n      - delay_ms: 20\n  - at_step: 3\n    do: [{drop: user}]\n",
        )
        .unwrap();
        assert_eq!((plan.faults.len(), plan.faults[0].actions.len()), (2, 2));
        for (text, line, words) in [
            (
                "faults:\n  - on: [order.place]\n    do: [{explode: 1}]\n",
                3,
                "must be a table of one key, delay_ms or",
            ),
            ("faults:\n  - on: [order.plac]\n    do: [{delay_ms: 1}]\n", 2, "did you mean `order.place`?"),
            ("faults:\n  - on: [order.place]\n    colour: red\n    do: [{delay_ms: 1}]\n", 3, "colour"),
            ("faults:\n  - do: [{delay_ms: 1}]\n", 2, "either `on` or `at_step`"),
            ("faults:\n  - on: ['*']\n    probability: 1.5\n    do: [{delay_ms: 1}]\n", 3, "probability"),
            ("faults:\n  - on: ['*']\n    do: [{partial_fill: {fraction: 1}}]\n", 3, "fraction"),
            ("faults:\n  - on: ['*']\n    do: [{delay_ms: -1}]\n", 3, "delay_ms"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.0.iter().any(|fault| fault.line == line), "{text}: {error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn rules_count_for_themselves_and_chance_repeats_with_its_seed() {
        let plan = parse(
            "faults:\n  - on: [order.place]\n    probability: 0.5\n    do: [{delay_ms: 1}]\n  - on: ['*']\n    every: 3\n    count: 2\n    do: [{answer_delay_ms: 1}]\n",
        )
        .unwrap();
        let run = |seed: u64| {
            let mut faults = Faults::new(&plan, seed);
            (0..64)
                .map(|_| faults.request("order.place"))
                .map(|t| (t.delay_ms, t.answer_delay_ms))
                .collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let fired: Vec<usize> =
            run(7).iter().enumerate().filter(|(_, (_, answer))| *answer > 0).map(|(at, _)| at).collect();
        assert_eq!(fired, [2, 5]);
        let delayed = run(7).iter().filter(|(delay, _)| *delay > 0).count();
        assert!((20..45).contains(&delayed), "{delayed}");
    }
}
