//! The state of a series as bytes.

use super::habits::Habits;
use super::traits::Traits;
use super::{PATIENCE, State, VERSION, WARM_UP};
use crate::codec::{Reader, put_f32s};
use crate::peaks_over_threshold::Tail;
use crate::records::Records;
use crate::seasonal_knots::Knots;

impl State {
    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.origin.to_le_bytes());
        out.extend_from_slice(&self.unit.to_le_bytes());
        out.extend_from_slice(&self.last_ts.to_le_bytes());
        out.extend_from_slice(&self.windows.to_le_bytes());
        out.push(self.hot as u8);
        out.extend([self.calm, self.traits.0]);
        put_f32s(out, &[self.period_s, self.observed_s, self.level, self.previous, self.recent]);
        put_f32s(out, &self.short);
        put_f32s(out, &self.short_size);
        put_f32s(out, &[self.step, self.activity, self.activity_mean, self.activity_size]);
        put_f32s(out, &self.quantiles);
        put_f32s(out, &self.errors);
        put_f32s(out, &self.range);
        for tail in &self.tails {
            tail.write(out);
        }
        self.records.write(out);
        self.habits.write(out);
        self.day.write(out);
        self.week.write(out);
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let (origin, unit) = (from.f64()?, from.f64()?);
        let (last_ts, windows, hot) = (from.i64()?, from.u32()?, from.u8()? as i8);
        let (calm, traits) = (from.u8()?, Traits(from.u8()?));
        let [period_s, observed_s, level, previous, recent] = from.f32s()?;
        let (short, short_size) = (from.f32s()?, from.f32s()?);
        let [step, activity, activity_mean, activity_size] = from.f32s()?;
        if !(-(WARM_UP as i8)..PATIENCE).contains(&hot) {
            return None;
        }
        let state = Self {
            origin,
            unit,
            last_ts,
            period_s,
            observed_s,
            windows,
            hot,
            calm,
            traits,
            level,
            recent,
            previous,
            short,
            short_size,
            step,
            activity,
            activity_mean,
            activity_size,
            quantiles: from.f32s()?,
            errors: from.f32s()?,
            range: from.f32s()?,
            tails: [Tail::read(&mut from)?, Tail::read(&mut from)?],
            records: Records::read(&mut from)?,
            habits: Habits::read(&mut from)?,
            day: Knots::read(&mut from)?,
            week: Knots::read(&mut from)?,
        };
        from.end()?;
        Some(state)
    }
}
