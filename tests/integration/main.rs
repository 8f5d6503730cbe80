//! The program from outside, and the stream engine through the library's doors.
//!
//! One binary, because each links DataFusion. Nothing here waits for time to pass: a test polls
//! for what it wants to see and fails at a deadline.

mod accounts;
mod archive;
mod commands;
mod demo;
mod detection;
mod engine;
mod evidence;
mod forecast;
mod kills;
mod knowledge;
mod live;
mod llm;
mod outage;
mod program;
mod prompt;
mod random;
mod refusals;
mod replays;
mod statistics;
mod stops;
mod templates;
