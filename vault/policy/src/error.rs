//! Why a policy set is not taken. Every message names the file, the policy where there is one, and the way out.

/// A policy set cannot be used. The set in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// There is no schema.
    #[error("policy set has no schema: add one file named *.cedarschema")]
    NoSchema,
    /// There are two schemas.
    #[error("policy set has two schemas, {first} and {second}: keep one")]
    TwoSchemas {
        /// The one that came first by name.
        first: String,
        /// The other.
        second: String,
    },
    /// There is no policy.
    #[error("policy set has no policy, so it could only refuse: add at least one file named *.cedar")]
    NoPolicy,
    /// There are more policies than a decision should cost.
    #[error("policy set has {count} policies, at most {limit} are taken: merge or drop some")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// A file is neither schema nor policy.
    #[error("{file} is neither *.cedarschema nor *.cedar: rename or remove it")]
    UnknownFile {
        /// The file.
        file: String,
    },
    /// Two files carry the same name.
    #[error("{file} is given twice: every file needs a name of its own")]
    DuplicateFile {
        /// The name.
        file: String,
    },
    /// The schema does not parse or does not hold together.
    #[error("{file} is not a sound Cedar schema: {source}")]
    Schema {
        /// The file.
        file: String,
        /// Where and why.
        #[source]
        source: Box<cedar_policy::CedarSchemaError>,
    },
    /// The schema draws a warning.
    #[error("{file} draws a warning: {detail}: mend it, a schema is taken only when nothing is doubtful")]
    SchemaWarning {
        /// The file.
        file: String,
        /// The warning.
        detail: String,
    },
    /// The schema is not the one releases are asked with.
    #[error("{file} does not describe a release as the vault asks for one ({detail}): start from the shipped schema")]
    SchemaShape {
        /// The file.
        file: String,
        /// What does not fit.
        detail: String,
    },
    /// A policy file does not parse.
    #[error("{file} does not parse: {source}")]
    Syntax {
        /// The file.
        file: String,
        /// Where and why.
        #[source]
        source: Box<cedar_policy::ParseErrors>,
    },
    /// A policy has no id of its own.
    #[error("{file}: policy number {number} has no @id: give it one, the register names policies by it")]
    MissingId {
        /// The file.
        file: String,
        /// Which policy of the file, from 1.
        number: usize,
    },
    /// An id is not a name.
    #[error("{file}: @id(\"{id}\") must match [a-z0-9][a-z0-9-]{{0,62}}")]
    BadId {
        /// The file.
        file: String,
        /// The id, with everything unprintable escaped.
        id: String,
    },
    /// Two policies carry one id.
    #[error("@id(\"{id}\") stands in {first} and again in {second}: rename one")]
    DuplicateId {
        /// The id.
        id: String,
        /// The file it came first in.
        first: String,
        /// The file it came again in.
        second: String,
    },
    /// A file holds a template.
    #[error("{file} holds a policy template: write the policy out, templates are not linked")]
    Template {
        /// The file.
        file: String,
    },
    /// A policy does not agree with the schema, strictly.
    #[error("{file}: policy {id} does not agree with the schema: {detail}")]
    Invalid {
        /// The file.
        file: String,
        /// The policy.
        id: String,
        /// What is wrong.
        detail: String,
    },
    /// A forbid could fail to evaluate.
    #[error(
        "{file}: policy {id} is a forbid that uses `{operator}`: a forbid may use required attributes and \
         comparisons only, because one that fails to evaluate would not forbid"
    )]
    FragileForbid {
        /// The file.
        file: String,
        /// The policy.
        id: String,
        /// The operator.
        operator: String,
    },
    /// A policy permits without looking at consent.
    #[error("{file}: policy {id} permits a release for which there is no consent: make consent a condition of it")]
    Blanket {
        /// The file.
        file: String,
        /// The policy.
        id: String,
    },
}
