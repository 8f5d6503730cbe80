//! Three things that a series is found to be, in a byte.

/// Windows over which the share of zeros is averaged.
const MEMORY: u8 = 32;
/// The whole of that share.
const ALL: u8 = 0x3f;
const RATE: u8 = 0x40;
const DAILY: u8 = 0x80;

/// How much of it has lately been zero, in 63rds, whether its values are rates of a counter, and
/// whether its baseline has adopted a daily pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Traits(pub(super) u8);

impl Traits {
    pub(super) fn set_rate(&mut self, is_rate: bool) {
        self.0 = if is_rate { self.0 | RATE } else { self.0 & !RATE };
    }

    pub(super) fn is_rate(self) -> bool {
        self.0 & RATE != 0
    }

    /// Whether it has lately been zero most of the time.
    pub(super) fn is_idle(self) -> bool {
        self.0 & ALL > ALL / 2
    }

    /// Whether its latest windows, a few at least, were nothing but zero.
    pub(super) fn is_still(self) -> bool {
        self.0 & ALL == ALL
    }

    pub(super) fn is_daily(self) -> bool {
        self.0 & DAILY != 0
    }

    pub(super) fn adopt_day(&mut self) {
        self.0 |= DAILY;
    }

    /// Takes note of one value; the first tells all that is known.
    pub(super) fn learn(&mut self, zero: bool, first: bool) {
        let share = self.0 & ALL;
        let share = match (first, zero) {
            (true, zero) => ALL * u8::from(zero),
            (false, true) => share + (ALL - share).div_ceil(MEMORY),
            (false, false) => share - share.div_ceil(MEMORY),
        };
        self.0 = self.0 & !ALL | share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_what_is_zero_most_of_the_time() {
        let mut traits = Traits::default();
        traits.learn(true, true);
        traits.adopt_day();
        for at in 0..1_000 {
            traits.learn(at % 5 > 0, false);
            assert!(traits.is_idle() && traits.is_daily(), "{at}");
        }
        traits.learn(false, false);
        assert!(!traits.is_still());
        (0..8).for_each(|_| traits.learn(true, false));
        assert!(traits.is_still());
        for at in 0..1_000 {
            traits.learn(at % 5 == 0, false);
            assert!(at < 60 || !traits.is_idle(), "{at}");
        }
        assert!(traits.is_daily());
    }
}
