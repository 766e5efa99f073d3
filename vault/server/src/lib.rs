//! The binary `cofred`: configuration, wiring, telemetry, health and shutdown.
