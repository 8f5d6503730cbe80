//! The jobs of a run: those that ship, or files that the user names.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::stream::{self, Job};

/// Name and text of the jobs in `sql/detect` that run where none is named: all but `metric_shift`,
/// which looks for what `metric_level` finds too, and `silent_series`, which a restart may mislead.
const SHIPPED: [(&str, &str); 18] = [
    ("call_latency.sql", include_str!("../../sql/detect/call_latency.sql")),
    ("certificate_expiry.sql", include_str!("../../sql/detect/certificate_expiry.sql")),
    ("error_budget.sql", include_str!("../../sql/detect/error_budget.sql")),
    ("error_burst.sql", include_str!("../../sql/detect/error_burst.sql")),
    ("forecast_breach.sql", include_str!("../../sql/detect/forecast_breach.sql")),
    ("log_mix.sql", include_str!("../../sql/detect/log_mix.sql")),
    ("log_template_rate.sql", include_str!("../../sql/detect/log_template_rate.sql")),
    ("log_volume.sql", include_str!("../../sql/detect/log_volume.sql")),
    ("metric_level.sql", include_str!("../../sql/detect/metric_level.sql")),
    ("missing_callee.sql", include_str!("../../sql/detect/missing_callee.sql")),
    ("new_template.sql", include_str!("../../sql/detect/new_template.sql")),
    ("peer_outlier.sql", include_str!("../../sql/detect/peer_outlier.sql")),
    ("request_errors.sql", include_str!("../../sql/detect/request_errors.sql")),
    ("severity_mix.sql", include_str!("../../sql/detect/severity_mix.sql")),
    ("silent_service.sql", include_str!("../../sql/detect/silent_service.sql")),
    ("span_errors.sql", include_str!("../../sql/detect/span_errors.sql")),
    ("span_latency.sql", include_str!("../../sql/detect/span_latency.sql")),
    ("span_mix.sql", include_str!("../../sql/detect/span_mix.sql")),
];

/// Compiles the named files, every `.sql` file of named folders, or all shipped jobs.
pub async fn load(paths: &[PathBuf]) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    if paths.is_empty() {
        for (name, text) in SHIPPED {
            jobs.push(stream::compile(name, text).await?);
        }
    }
    for file in expand(paths)? {
        jobs.push(compile(&file).await?);
    }
    for (i, job) in jobs.iter().enumerate() {
        if let Some(other) = jobs[..i].iter().find(|o| o.file.name == job.file.name) {
            return Err(Error::usage(
                format!(
                    "{} and {} are both named {}",
                    other.file.origin, job.file.origin, job.file.name
                ),
                "give one of them another `-- name:`",
            ));
        }
    }
    Ok(jobs)
}

/// Compiles one job file.
pub async fn compile(path: &Path) -> Result<Job> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    stream::compile(&path.display().to_string(), &text).await
}

fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
            inside.push(entry.map_err(Error::io(path))?.path());
        }
        inside.retain(|p| p.extension().is_some_and(|e| e == "sql"));
        inside.sort();
        if inside.is_empty() {
            return Err(Error::usage(
                format!("no .sql file in {}", path.display()),
                "name a job file or a folder of job files",
            ));
        }
        files.extend(inside);
    }
    Ok(files)
}
