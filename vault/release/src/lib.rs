//! Use case: decide, record, unwrap, open, narrow, seal to the worker. One readable function.
