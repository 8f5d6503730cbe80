//! `approx_percentile_cont(value, q)` and `approx_median(value)` whose answer does not depend on
//! how rows are cut into batches, nor on the order in which they come.
//!
//! A t-digest, which is what DataFusion's functions of these names keep, merges neighbours as it is
//! filled, so that each batch size gives another answer. Here values are counted in buckets that
//! are `ACCURACY` wide to either side, and counts add up in any order (DDSketch: Masson, Rim and
//! Lee, VLDB 12, 2019). The library gives the buckets; they are counted here, because a checkpoint
//! keeps Arrow columns, which its store has no form for. The answer is the middle of the bucket of
//! the value of rank `⌊q · (n − 1)⌋`. Values that are null or not finite are left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, TypeSignature,
    Volatility,
};
use sketches_ddsketch::Config;

/// Half the width of a bucket, as a share of the value.
const ACCURACY: f64 = 0.005;

/// Values nearer to zero than this are zero.
const LEAST: f64 = 1e-9;

/// Above every bucket number that a finite value can have.
const BEYOND: i64 = 1 << 20;

const NAMES: [&str; 2] = ["approx_percentile_cont", "approx_median"];

/// Both functions.
pub fn functions() -> impl Iterator<Item = AggregateUDF> {
    NAMES.into_iter().map(|name| {
        let forms = match name {
            "approx_median" => vec![DataType::Float64],
            _ => vec![DataType::Float64; 2],
        };
        let signature = Signature::one_of(vec![TypeSignature::Exact(forms)], Volatility::Immutable);
        AggregateUDF::new_from_impl(Percentile { name, signature })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let q = match args.exprs.get(1) {
            None => Some(0.5),
            Some(q) => {
                let empty = arrow::array::RecordBatch::new_empty(Arc::new(args.schema.clone()));
                match q.evaluate(&empty)? {
                    ColumnarValue::Scalar(ScalarValue::Float64(q)) => q,
                    _ => None,
                }
            }
        };
        let Some(q) = q.filter(|q| (0.0..=1.0).contains(q)) else {
            return exec_err!("the percentile of {} is a number from 0 to 1", self.name);
        };
        Ok(Box::new(Sketch::new(q)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let item = Arc::new(Field::new_list_field(DataType::Int64, true));
        let field = |part| {
            let name = format_state_name(args.name, part);
            Arc::new(Field::new(name, DataType::List(Arc::clone(&item)), true))
        };
        Ok(["buckets", "counts"].map(field).to_vec())
    }
}

struct Sketch {
    q: f64,
    buckets: Config,
    counts: BTreeMap<i64, i64>,
}

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "percentile {}: {} buckets", self.q, self.counts.len())
    }
}

impl Sketch {
    fn new(q: f64) -> Self {
        // The number of bins is that of the library's store.
        Self { q, buckets: Config::new(ACCURACY, u32::MAX, LEAST), counts: BTreeMap::new() }
    }

    /// In the order of values.
    fn bucket(&self, value: f64) -> i64 {
        match value.abs() {
            size if size < LEAST => 0,
            size => (BEYOND + i64::from(self.buckets.key(size))) * value.signum() as i64,
        }
    }

    fn value(&self, bucket: i64) -> f64 {
        match bucket {
            0 => 0.0,
            _ => {
                let key = (bucket.abs() - BEYOND) as i32;
                self.buckets.value(key) * bucket.signum() as f64
            }
        }
    }

    fn percentile(&self) -> Option<f64> {
        let n: i64 = self.counts.values().sum();
        let rank = (self.q * (n - 1) as f64) as i64;
        let mut below = 0;
        let at = self.counts.iter().find(|(_, count)| {
            below += **count;
            below > rank
        });
        at.map(|(bucket, _)| self.value(*bucket))
    }
}

impl Accumulator for Sketch {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            if value.is_finite() {
                *self.counts.entry(self.bucket(value)).or_default() += 1;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.percentile()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.len() * 2 * size_of::<(i64, i64)>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let buckets = Int64Array::from_iter_values(self.counts.keys().copied());
        let counts = Int64Array::from_iter_values(self.counts.values().copied());
        let list = |c: Int64Array| SingleRowListArrayBuilder::new(Arc::new(c)).build_list_scalar();
        Ok([buckets, counts].map(list).to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[0].len() {
            if states[0].is_valid(row) {
                let [buckets, counts] = [0, 1].map(|i| states[i].as_list::<i32>().value(row));
                let buckets = buckets.as_primitive::<Int64Type>().values();
                for (bucket, n) in buckets.iter().zip(counts.as_primitive::<Int64Type>().values()) {
                    *self.counts.entry(*bucket).or_default() += n;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Float64Array;

    fn sketch(q: f64, values: &[f64]) -> Sketch {
        let mut sketch = Sketch::new(q);
        sketch.update_batch(&[Arc::new(Float64Array::from(values.to_vec()))]).unwrap();
        sketch
    }

    proptest::proptest! {
        #[test]
        fn any_cut_and_order_give_the_percentile(
            mut values in proptest::collection::vec(-1e9..1e9_f64, 1..200),
            cut in 0..200_usize,
            q in 0.0..=1.0_f64,
        ) {
            let whole = sketch(q, &values).percentile().unwrap();
            let (a, b) = values.split_at(cut.min(values.len()));
            let (mut late, mut early) = (sketch(q, b), sketch(q, a));
            let state = early.state().unwrap();
            let state: Vec<ArrayRef> = state.iter().map(|s| s.to_array().unwrap()).collect();
            late.merge_batch(&state).unwrap();
            proptest::prop_assert_eq!(late.percentile(), Some(whole));
            values.sort_by(f64::total_cmp);
            let exact = values[(q * (values.len() - 1) as f64) as usize];
            proptest::prop_assert!((whole - exact).abs() <= 1.01 * ACCURACY * exact.abs());
        }
    }

    #[test]
    fn zeros_extremes_and_what_is_no_number() {
        assert_eq!(sketch(0.5, &[]).percentile(), None);
        assert_eq!(sketch(0.5, &[f64::NAN, f64::INFINITY]).percentile(), None);
        assert_eq!(sketch(0.5, &[-1.0, 0.0, 1e-300, 5.0]).percentile(), Some(0.0));
        let ends = [0.0, 1.0].map(|q| sketch(q, &[f64::MAX, f64::MIN, 0.0]).percentile().unwrap());
        assert!(ends[0] < -1.7e308 && ends[1] > 1.7e308, "{ends:?}");
    }
}
