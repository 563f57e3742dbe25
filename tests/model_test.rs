//! Tests of the reference model and of the checker.

mod model;
