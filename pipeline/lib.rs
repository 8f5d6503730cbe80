//! Faultline, in the order in which data flows.

pub mod model;

pub mod error;

pub mod stream;

pub mod source;

pub mod monitor;
