//! Use case: the integrator that signs checkpoints, and everything an auditor reads.
