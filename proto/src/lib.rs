//! The wire: .proto files of package cofre.v1 and their conversion into the model. The only way in from outside.
