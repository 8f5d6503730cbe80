//! Agent 1: runs jobs over the streams, mines log templates, and turns signals into incidents.

pub mod calls;
pub mod correlate;
pub mod inhibit;
mod interval_text;
pub mod logs;
pub mod matcher;
pub mod notify;
pub mod signals;
pub mod silence;
pub mod template;
pub mod title;
pub mod topology;
