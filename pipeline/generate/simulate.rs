//! The state of every service at every tick. Load drives everything; latency and errors climb from
//! callees to their callers with one tick of delay per hop.

use super::Scenario;
use super::fault::{Effect, combined};
use super::random::{Random, wave};
use super::system::System;
use crate::model::{DAY, Nanos};

/// A request that waits longer fails.
const TIMEOUT_MS: f64 = 2_000.0;
/// Share of a callee's failures that reach the caller's own reply; retries absorb the others.
pub const PASSED_ON: f64 = 0.8;
/// Failures of a healthy service.
const FAILURES: f64 = 0.0003;

#[derive(Clone, Debug)]
pub struct State {
    /// Requests per second over all replicas.
    pub rate: f64,
    /// Time in the service itself per request.
    pub self_ms: f64,
    /// What its callers wait for on top, for the network.
    pub network_ms: f64,
    /// Mean reply time including what it waits for.
    pub latency_ms: f64,
    /// Share of requests that fail by the service's own doing, and in all.
    pub own_errors: f64,
    pub errors: f64,
    /// By replica.
    pub effects: Vec<Effect>,
    pub utilisation: f64,
}

pub struct Simulation<'a> {
    scenario: &'a Scenario,
    random: Random,
    /// AR(1) noise of the load and of each service's speed.
    load_noise: f64,
    speed_noise: Vec<f64>,
    previous: Option<Vec<State>>,
    tick: i64,
}

impl<'a> Simulation<'a> {
    pub fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            random: Random::new(scenario.seed, "simulation"),
            load_noise: 0.0,
            speed_noise: vec![0.0; scenario.system.services.len()],
            previous: None,
            tick: 0,
        }
    }

    fn load(&mut self, ts: Nanos) -> f64 {
        self.load_noise = 0.9 * self.load_noise + 0.012 * self.random.normal();
        // Least at four in the morning, most at four in the afternoon, with a bump at noon.
        let day = ts.rem_euclid(DAY) as f64 / DAY as f64;
        let season = 1.0 + 0.3 * wave(day - 10.0 / 24.0) + 0.06 * wave(2.0 * day - 0.25);
        self.scenario.system.requests_per_second * season * (1.0 + self.load_noise)
    }

    fn step(&mut self, ts: Nanos) -> Vec<State> {
        let system = &self.scenario.system;
        let rates = rates(system, self.load(ts));
        let mut states = Vec::with_capacity(rates.len());
        for (i, service) in system.services.iter().enumerate() {
            let noise = &mut self.speed_noise[i];
            *noise = 0.7 * *noise + 0.02 * self.random.normal();
            let effect =
                |r| combined(&self.scenario.faults, system, i, r, ts - self.scenario.start);
            let effects: Vec<Effect> = (0..service.replicas).map(effect).collect();
            states.push(alone(service, rates[i], effects, 1.0 + *noise));
        }
        let previous = self.previous.as_ref();
        for (i, service) in system.services.iter().enumerate() {
            let (mut latency, mut passed) = (states[i].self_ms, 1.0);
            for call in &service.calls {
                let callee = previous.map_or(&states[call.callee], |p| &p[call.callee]);
                latency += call.per_request * (callee.latency_ms + states[call.callee].network_ms);
                passed *= 1.0 - call.per_request.min(1.0) * callee.errors * PASSED_ON;
            }
            let late = ((latency - TIMEOUT_MS / 2.0) / TIMEOUT_MS).clamp(0.0, 0.9);
            let state = &mut states[i];
            state.latency_ms = latency.min(TIMEOUT_MS);
            state.errors = 1.0 - (1.0 - state.own_errors) * passed * (1.0 - late);
        }
        states
    }
}

impl Iterator for Simulation<'_> {
    type Item = (Nanos, Vec<State>);

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.tick * self.scenario.step;
        if offset >= self.scenario.duration {
            return None;
        }
        self.tick += 1;
        let ts = self.scenario.start + offset;
        let states = self.step(ts);
        self.previous = Some(states.clone());
        Some((ts, states))
    }
}

/// Requests per second of every service; a worker that nobody calls takes what its queue gets.
fn rates(system: &System, load: f64) -> Vec<f64> {
    let mut rates = vec![0.0; system.services.len()];
    rates[0] = load;
    let mut called = vec![false; rates.len()];
    system.services.iter().flat_map(|s| &s.calls).for_each(|c| called[c.callee] = true);
    for (i, service) in system.services.iter().enumerate() {
        if i > 0 && !called[i] {
            // Parcels are sent for one request in forty.
            rates[i] = load / 40.0;
        }
        for call in &service.calls {
            rates[call.callee] += rates[i] * call.per_request;
        }
    }
    rates
}

/// A service by itself, before what it waits for.
fn alone(service: &super::system::Service, rate: f64, effects: Vec<Effect>, noise: f64) -> State {
    let replicas = effects.len() as f64;
    let up = effects.iter().filter(|e| !e.down).count().max(1) as f64;
    let mean = |f: fn(&Effect) -> f64| effects.iter().map(f).sum::<f64>() / replicas;
    let utilisation = (rate * service.cpu_ms / 1000.0 / up).min(0.97);
    // Waiting grows with utilisation as in a queue with one server.
    let queueing = 1.0 + 0.5 * utilisation / (1.0 - utilisation);
    State {
        rate,
        self_ms: service.self_ms * queueing * mean(|e| e.slowdown) * noise,
        network_ms: mean(|e| e.network_ms),
        latency_ms: 0.0,
        own_errors: FAILURES + mean(|e| e.errors),
        errors: 0.0,
        effects,
        utilisation,
    }
}
