//! Variances, covariances, correlation and regressions whose answer does not depend on whether a
//! checkpoint was taken.
//!
//! A checkpoint reads the state of an aggregate and merges it into a new one. DataFusion's own
//! functions of these names compute with the nothing that is in the new one, which rounds. Here
//! the first state that is merged is taken as it is. Rows are added one by one (Welford,
//! Technometrics 4, 1962) and states by the formula of Chan, Golub and LeVeque (1979). Pairs of
//! which one is null are left out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility,
};

/// Parts of the state after the number of rows.
const PARTS: [&str; 5] = ["mean_y", "mean_x", "m2_y", "m2_x", "cross"];

/// One function: its names, how many columns it takes, and its answer.
struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    columns: usize,
    answer: fn(&Moments) -> Option<f64>,
}

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    columns: usize,
    answer: fn(&Moments) -> Option<f64>,
) -> Row {
    Row { name, aliases, columns, answer }
}

const ROWS: [Row; 15] = [
    row("var", &["var_sample", "var_samp"], 1, |m| m.sample(m.m2[1])),
    row("var_pop", &["var_population"], 1, |m| m.population(m.m2[1])),
    row("stddev", &["stddev_samp"], 1, |m| m.sample(m.m2[1]).map(f64::sqrt)),
    row("stddev_pop", &[], 1, |m| m.population(m.m2[1]).map(f64::sqrt)),
    row("covar_samp", &["covar"], 2, |m| m.sample(m.cross)),
    row("covar_pop", &[], 2, |m| m.population(m.cross)),
    row("corr", &[], 2, |m| m.sloped(m.m2[0]).map(|_| m.cross / m.m2[0].sqrt() / m.m2[1].sqrt())),
    row("regr_slope", &[], 2, |m| m.sloped(1.0)),
    row("regr_intercept", &[], 2, |m| m.sloped(1.0).map(|slope| m.mean[0] - slope * m.mean[1])),
    row("regr_r2", &[], 2, |m| m.sloped(m.m2[0]).map(|slope| slope * m.cross / m.m2[0])),
    row("regr_avgx", &[], 2, |m| m.any(m.mean[1])),
    row("regr_avgy", &[], 2, |m| m.any(m.mean[0])),
    row("regr_sxx", &[], 2, |m| m.any(m.m2[1])),
    row("regr_syy", &[], 2, |m| m.any(m.m2[0])),
    row("regr_sxy", &[], 2, |m| m.any(m.cross)),
];

/// All of them; `regr_count`, which only counts, is as exact as it is.
pub fn functions() -> impl Iterator<Item = AggregateUDF> {
    ROWS.iter().enumerate().map(|(at, row)| {
        let forms = TypeSignature::Exact(vec![DataType::Float64; row.columns]);
        let signature = Signature::new(forms, Volatility::Immutable);
        let aliases = row.aliases.iter().map(ToString::to_string).collect();
        AggregateUDF::new_from_impl(Function { at, aliases, signature })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    /// In [`ROWS`].
    at: usize,
    aliases: Vec<String>,
    signature: Signature,
}

impl AggregateUDFImpl for Function {
    fn name(&self) -> &str {
        ROWS[self.at].name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return exec_err!("{} takes no DISTINCT", self.name());
        }
        Ok(Box::new(Moments::new(ROWS[self.at].answer)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part, data_type| {
            Arc::new(Field::new(format_state_name(args.name, part), data_type, true))
        };
        let mut fields = vec![field("count", DataType::UInt64)];
        fields.extend(PARTS.map(|part| field(part, DataType::Float64)));
        Ok(fields)
    }
}

/// Sums around the means of y and x, which are one where a function takes one column.
struct Moments {
    answer: fn(&Self) -> Option<f64>,
    count: u64,
    mean: [f64; 2],
    m2: [f64; 2],
    cross: f64,
}

impl std::fmt::Debug for Moments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "moments of {} rows", self.count)
    }
}

impl Moments {
    fn new(answer: fn(&Self) -> Option<f64>) -> Self {
        Self { answer, count: 0, mean: [0.0; 2], m2: [0.0; 2], cross: 0.0 }
    }

    fn any(&self, value: f64) -> Option<f64> {
        (self.count > 0).then_some(value)
    }

    fn population(&self, sum: f64) -> Option<f64> {
        self.any(sum / self.count as f64)
    }

    fn sample(&self, sum: f64) -> Option<f64> {
        (self.count > 1).then(|| sum / (self.count - 1) as f64)
    }

    /// The slope of y over x, where both it and `spread` are something to divide by.
    fn sloped(&self, spread: f64) -> Option<f64> {
        let some = self.count > 1 && self.m2[1] != 0.0 && spread != 0.0;
        some.then(|| self.cross / self.m2[1])
    }

    fn add(&mut self, value: [f64; 2]) {
        self.count += 1;
        let before = [0, 1].map(|i| value[i] - self.mean[i]);
        for i in [0, 1] {
            self.mean[i] += before[i] / self.count as f64;
            self.m2[i] += before[i] * (value[i] - self.mean[i]);
        }
        self.cross += before[1] * (value[0] - self.mean[0]);
    }

    fn take(&mut self, value: [f64; 2]) {
        if self.count <= 1 {
            *self = Self::new(self.answer);
            return;
        }
        self.count -= 1;
        let before = [0, 1].map(|i| value[i] - self.mean[i]);
        for i in [0, 1] {
            self.mean[i] -= before[i] / self.count as f64;
            self.m2[i] -= before[i] * (value[i] - self.mean[i]);
        }
        self.cross -= before[1] * (value[0] - self.mean[0]);
    }

    fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let total = self.count + other.count;
        // Exactly as it was, so that it goes on as if it had never been read.
        if self.count == 0 {
            (self.mean, self.m2, self.cross) = (other.mean, other.m2, other.cross);
        } else {
            let apart = [0, 1].map(|i| other.mean[i] - self.mean[i]);
            let share = other.count as f64 / total as f64;
            let weight = self.count as f64 * share;
            for (i, apart) in apart.into_iter().enumerate() {
                self.mean[i] += apart * share;
                self.m2[i] += other.m2[i] + apart * apart * weight;
            }
            self.cross += other.cross + apart[0] * apart[1] * weight;
        }
        self.count = total;
    }
}

/// Calls `row` with y and x of every row that has both.
fn each(columns: &[ArrayRef], mut row: impl FnMut([f64; 2])) {
    let [y, .., x] = columns else {
        let only = columns.iter().flat_map(|c| c.as_primitive::<Float64Type>().iter().flatten());
        only.for_each(|value| row([value; 2]));
        return;
    };
    let (y, x) = (y.as_primitive::<Float64Type>(), x.as_primitive::<Float64Type>());
    for (y, x) in y.iter().zip(x) {
        if let (Some(y), Some(x)) = (y, x) {
            row([y, x]);
        }
    }
}

impl Accumulator for Moments {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        each(columns, |value| self.add(value));
        Ok(())
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        each(columns, |value| self.take(value));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64((self.answer)(self)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let [mean, m2] = [self.mean, self.m2];
        let parts = [mean[0], mean[1], m2[0], m2[1], self.cross].map(ScalarValue::from);
        Ok(std::iter::once(ScalarValue::from(self.count)).chain(parts).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[0].as_primitive::<UInt64Type>();
        for row in (0..counts.len()).filter(|row| counts.is_valid(*row)) {
            let part = |i: usize| states[i].as_primitive::<Float64Type>().value(row);
            self.merge(&Self {
                answer: self.answer,
                count: counts.value(row),
                mean: [part(1), part(2)],
                m2: [part(3), part(4)],
                cross: part(5),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Float64Array;
    use proptest::prelude::*;

    fn answer(name: &str) -> fn(&Moments) -> Option<f64> {
        ROWS.iter().find(|r| r.name == name).unwrap().answer
    }

    fn columns(rows: &[(f64, f64)]) -> Vec<ArrayRef> {
        let (y, x): (Vec<f64>, Vec<f64>) = rows.iter().copied().unzip();
        [y, x].map(|c| Arc::new(Float64Array::from(c)) as ArrayRef).to_vec()
    }

    fn moments(name: &str, rows: &[(f64, f64)]) -> Moments {
        let mut moments = Moments::new(answer(name));
        moments.update_batch(&columns(rows)).unwrap();
        moments
    }

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|f| (f - expected).abs() <= 1e-9 * expected.abs().max(1.0))
    }

    fn restored(from: &mut Moments) -> Moments {
        let state = from.state().unwrap();
        let state: Vec<ArrayRef> = state.iter().map(|s| s.to_array().unwrap()).collect();
        let mut to = Moments::new(from.answer);
        to.merge_batch(&state).unwrap();
        to
    }

    proptest! {
        #[test]
        fn what_is_read_and_put_back_goes_on_as_it_was(
            rows in proptest::collection::vec((-1e6..1e6_f64, -1e6..1e6_f64), 2..60),
            cut in 1..60_usize,
        ) {
            let (a, b) = rows.split_at(cut.min(rows.len()));
            for row in &ROWS {
                let whole = moments(row.name, &rows).evaluate().unwrap();
                let mut again = restored(&mut moments(row.name, a));
                again.update_batch(&columns(b)).unwrap();
                prop_assert_eq!(again.evaluate().unwrap(), whole, "{}", row.name);
            }
        }

        #[test]
        fn parts_add_up_and_can_be_taken_away(
            rows in proptest::collection::vec((-1e3..1e3_f64, -1e3..1e3_f64), 3..60),
            cut in 1..60_usize,
        ) {
            let (a, b) = rows.split_at(cut.min(rows.len()));
            let whole = answer("covar_pop")(&moments("covar_pop", &rows)).unwrap();
            let mut parts = moments("covar_pop", a);
            parts.merge(&moments("covar_pop", b));
            prop_assert!(near(answer("covar_pop")(&parts), whole));
            let more = [&rows, a].concat();
            let mut less = moments("covar_pop", &more);
            less.retract_batch(&columns(a)).unwrap();
            prop_assert!((answer("covar_pop")(&less).unwrap() - whole).abs() < 1e-6);
        }
    }

    #[test]
    fn known_answers() {
        let rows = [(3.0, 1.0), (5.0, 2.0), (7.0, 3.0), (10.0, 4.0)];
        for (name, expected) in [
            ("var", 5.0 / 3.0),
            ("var_pop", 1.25),
            ("stddev", (5.0_f64 / 3.0).sqrt()),
            ("stddev_pop", 1.25_f64.sqrt()),
            ("covar_samp", 11.5 / 3.0),
            ("covar_pop", 2.875),
            ("corr", 11.5 / (5.0_f64 * 26.75).sqrt()),
            ("regr_slope", 2.3),
            ("regr_intercept", 0.5),
            ("regr_r2", 11.5 * 11.5 / (5.0 * 26.75)),
            ("regr_avgx", 2.5),
            ("regr_avgy", 6.25),
            ("regr_sxx", 5.0),
            ("regr_syy", 26.75),
            ("regr_sxy", 11.5),
        ] {
            assert!(near(answer(name)(&moments(name, &rows)), expected), "{name}");
        }
    }

    #[test]
    fn too_few_rows_and_rows_that_are_all_alike() {
        for row in &ROWS {
            assert_eq!((row.answer)(&moments(row.name, &[])), None, "{}", row.name);
        }
        let one = |name| answer(name)(&moments(name, &[(1.0, 2.0)]));
        assert_eq!((one("var"), one("var_pop"), one("corr")), (None, Some(0.0), None));
        let alike = |name| answer(name)(&moments(name, &[(1.0, 2.0), (1.0, 2.0)]));
        assert_eq!((alike("stddev"), alike("corr"), alike("regr_slope")), (Some(0.0), None, None));
    }

    #[test]
    fn nulls_are_left_out() {
        let mut pairs = Moments::new(answer("regr_sxx"));
        let y: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(2.0)]));
        let x: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(1.0), Some(2.0)]));
        pairs.update_batch(&[Arc::clone(&y), x]).unwrap();
        assert_eq!(pairs.count, 1);
        let mut one = Moments::new(answer("var"));
        one.update_batch(&[y]).unwrap();
        assert_eq!((one.count, (one.answer)(&one)), (2, Some(0.5)));
    }
}
