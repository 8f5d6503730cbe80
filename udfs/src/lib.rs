//! Statistics as pure functions over slices, their registration with DataFusion, and the loader of
//! plugins built for Arroyo.

pub mod absence;
mod absences;
pub mod alerting;
pub mod approx_percentile;
pub mod benjamini_hochberg;
mod calibration;
mod codec;
mod collected;
mod count_anomalies;
pub mod count_anomaly;
pub mod counter_rate;
pub mod cusum_onset;
pub mod detectors;
pub mod due;
pub mod error;
pub mod error_budget;
mod error_budgets;
pub mod forecast_breach;
pub mod highest_before;
pub mod iqr;
pub mod mad;
mod metric_anomalies;
pub mod metric_anomaly;
pub mod metric_name;
pub mod mix_shift;
mod mixes;
pub mod moments;
mod negative_binomial;
mod newcomers;
#[cfg(test)]
mod noise;
mod peaks_over_threshold;
pub mod peer_outlier;
mod peers;
pub mod plugin;
pub mod quantile;
mod rare_events;
pub mod reading;
mod readings;
mod records;
mod sampling_period;
mod seasonal_knots;
pub mod stateful;
pub mod theil_sen;
mod tick;
mod trend_line;
pub mod verdict;
pub mod window_score;
mod young_counts;

pub use verdict::Verdict;

use datafusion::prelude::SessionContext;

/// Makes every function of this crate known to SQL.
pub fn register(context: &SessionContext) {
    for function in detectors::FUNCTIONS {
        context.register_udwf(function.udwf());
    }
    for function in tick::functions() {
        context.register_udwf(function);
    }
    for function in collected::functions() {
        context.register_udaf(function);
    }
}
