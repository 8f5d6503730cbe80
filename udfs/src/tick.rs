//! Functions over the rows of one tick: `f(x) OVER (PARTITION BY window)`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};

use crate::{benjamini_hochberg, peers};

/// From the values of one tick to one score for each; values may be NaN.
type Score = fn(&[f64]) -> Vec<f64>;

/// All functions of this kind.
pub fn functions() -> [WindowUDF; 3] {
    [
        tick("benjamini_hochberg", benjamini_hochberg::benjamini_hochberg),
        tick("discoveries", discovered),
        tick("peer_outlier", peers::peer_outlier),
    ]
}

/// False discovery rate over everything watched at one tick.
const FALSE_DISCOVERY_RATE: f64 = 0.05;

/// The scores that survive the false discovery rate, 0 for the others.
fn discovered(scores: &[f64]) -> Vec<f64> {
    benjamini_hochberg::discoveries(scores, FALSE_DISCOVERY_RATE)
}

fn tick(name: &'static str, score: Score) -> WindowUDF {
    let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable);
    WindowUDF::new_from_impl(Tick { name, score, signature })
}

#[derive(Debug)]
struct Tick {
    name: &'static str,
    score: Score,
    signature: Signature,
}

impl PartialEq for Tick {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Tick {}

impl Hash for Tick {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl WindowUDFImpl for Tick {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator { score: self.score }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Float64, true)))
    }
}

#[derive(Debug)]
struct Evaluator {
    score: Score,
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], _rows: usize) -> Result<ArrayRef> {
        let column = values[0].as_primitive::<Float64Type>();
        let value = |row| if column.is_valid(row) { column.value(row) } else { f64::NAN };
        let values: Vec<f64> = (0..column.len()).map(value).collect();
        Ok(Arc::new(Float64Array::from((self.score)(&values))))
    }
}
