//! Aggregates that need all values of a group at once: `mad(value)`, `theil_sen(ts, value)`, ….
//!
//! Rows with a null in any argument are left out whole, so that arguments stay aligned.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::{forecast_breach, iqr, mad, theil_sen, window_score};

/// Times (nanoseconds) if the function has them, then one column per float argument.
struct Values<'a> {
    ts: &'a [i64],
    floats: &'a [Vec<f64>],
}

#[derive(Clone, Copy)]
struct Function {
    name: &'static str,
    timed: bool,
    floats: usize,
    compute: fn(&Values<'_>) -> Option<f64>,
}

const FUNCTIONS: [Function; 6] = [
    Function { name: "mad", timed: false, floats: 1, compute: |v| mad::mad(&v.floats[0]) },
    Function { name: "iqr", timed: false, floats: 1, compute: |v| iqr::iqr(&v.floats[0]) },
    Function {
        name: "theil_sen",
        timed: true,
        floats: 1,
        compute: |v| theil_sen::theil_sen(v.ts, &v.floats[0]),
    },
    Function {
        name: "window_score",
        timed: true,
        floats: 1,
        compute: |v| window_score::window_score(v.ts, &v.floats[0]),
    },
    Function { name: "forecast_breach", timed: true, floats: 3, compute: breach_in_seconds },
    Function { name: "forecast_confidence", timed: true, floats: 3, compute: breach_confidence },
];

/// All functions of this kind.
pub fn functions() -> impl Iterator<Item = AggregateUDF> {
    FUNCTIONS.into_iter().map(|f| AggregateUDF::new_from_impl(Collected::new(f)))
}

/// `forecast_breach(ts, value, limit, horizon_seconds)`.
fn breach(v: &Values<'_>) -> Option<forecast_breach::Breach> {
    let (limit, horizon) = (v.floats[1].last()?, v.floats[2].last()?);
    forecast_breach::forecast_breach(v.ts, &v.floats[0], *limit, (*horizon * 1e9) as i64)
}

/// Seconds from the last sample to the breach.
fn breach_in_seconds(v: &Values<'_>) -> Option<f64> {
    let last = v.ts.iter().max()?;
    breach(v).map(|b| (b.at_ns - last) as f64 / 1e9)
}

fn breach_confidence(v: &Values<'_>) -> Option<f64> {
    breach(v).map(|b| b.confidence)
}

#[derive(Clone)]
struct Collected {
    function: Function,
    signature: Signature,
}

impl Collected {
    fn new(function: Function) -> Self {
        let floats = std::iter::repeat_n(DataType::Float64, function.floats);
        let nanos = DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None);
        let forms = match function.timed {
            false => vec![TypeSignature::Exact(floats.collect())],
            true => [nanos, DataType::Int64]
                .map(|ts| TypeSignature::Exact([ts].into_iter().chain(floats.clone()).collect()))
                .to_vec(),
        };
        Self { function, signature: Signature::one_of(forms, Volatility::Immutable) }
    }

    fn columns(&self) -> impl Iterator<Item = DataType> + use<> {
        let ts = self.function.timed.then_some(DataType::Int64);
        ts.into_iter().chain(std::iter::repeat_n(DataType::Float64, self.function.floats))
    }
}

impl std::fmt::Debug for Collected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.function.name)
    }
}

impl PartialEq for Collected {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Collected {}

impl Hash for Collected {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl AggregateUDFImpl for Collected {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let floats = vec![Vec::new(); self.function.floats];
        Ok(Box::new(Group { function: self.function, ts: Vec::new(), floats }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |(i, t): (usize, DataType)| {
            let item = Arc::new(Field::new_list_field(t, true));
            let name = format_state_name(args.name, &format!("values_{i}"));
            Arc::new(Field::new(name, DataType::List(item), true))
        };
        Ok(self.columns().enumerate().map(field).collect())
    }
}

/// The values of one group; DataFusion's memory pool bounds it.
struct Group {
    function: Function,
    ts: Vec<i64>,
    floats: Vec<Vec<f64>>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} values", self.function.name, self.floats[0].len())
    }
}

impl Accumulator for Group {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let whole = |row| values.iter().all(|c| c.is_valid(row));
        let rows: Vec<usize> = (0..values[0].len()).filter(|row| whole(*row)).collect();
        let mut columns = values.iter();
        if self.function.timed
            && let Some(ts) = columns.next()
        {
            let ts = cast(ts, &DataType::Int64)?;
            let ts = ts.as_primitive::<Int64Type>();
            self.ts.extend(rows.iter().map(|row| ts.value(*row)));
        }
        for (kept, column) in self.floats.iter_mut().zip(columns) {
            let column = column.as_primitive::<Float64Type>();
            kept.extend(rows.iter().map(|row| column.value(*row)));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = Values { ts: &self.ts, floats: &self.floats };
        Ok(ScalarValue::Float64((self.function.compute)(&values)))
    }

    fn size(&self) -> usize {
        let floats: usize = self.floats.iter().map(|f| f.capacity() * 8).sum();
        size_of_val(self) + self.ts.capacity() * 8 + floats
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        if self.function.timed {
            columns.push(Arc::new(Int64Array::from(self.ts.clone())));
        }
        for floats in &self.floats {
            columns.push(Arc::new(Float64Array::from(floats.clone())));
        }
        let list = |c: ArrayRef| SingleRowListArrayBuilder::new(c).build_list_scalar();
        Ok(columns.into_iter().map(list).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[0].len() {
            if states[0].is_valid(row) {
                let inner: Vec<ArrayRef> =
                    states.iter().map(|s| s.as_list::<i32>().value(row)).collect();
                self.update_batch(&inner)?;
            }
        }
        Ok(())
    }
}
