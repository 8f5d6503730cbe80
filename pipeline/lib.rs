//! Faultline, in the order in which data flows.

pub mod model;

pub mod error;

pub mod stream;

pub mod source;

pub mod generate;

pub mod monitor;

pub mod diagnose;

pub mod coordinate;

pub mod knowledge;

pub mod query;

pub mod run;

pub mod config;

pub mod cli;
