//! Asks the Cedar engine. Entities and request are built through its interface and checked against the schema, never
//! as text, so no name in them can become part of a rule. Any evaluation error refuses: the engine by itself leaves
//! out a policy that fails, even a forbid.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, ParseErrors, PolicySet,
    Request, RestrictedExpression as Value, Schema,
};

use crate::input::{ConsentInput, Input};

/// The policies in force, ready to be asked.
#[derive(Debug)]
pub(crate) struct Engine {
    authorizer: Authorizer,
    schema: Schema,
    policies: PolicySet,
    types: Types,
}

/// What the engine says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) permitted: bool,
    /// Ids of the policies that decided, sorted; `error:<id>` where one failed, `default:deny` where none spoke.
    pub(crate) rules: Vec<String>,
}

impl Answer {
    pub(crate) fn refused(rule: &str) -> Self {
        Self { permitted: false, rules: vec![rule.to_owned()] }
    }
}

/// A question does not fit the schema; the engine's own words say how.
pub(crate) type QuestionError = Box<dyn std::error::Error + Send + Sync>;

impl Engine {
    /// # Errors
    /// Where a type name of this file does not parse, which no input can bring about.
    pub(crate) fn new(schema: Schema, policies: PolicySet) -> Result<Self, Box<ParseErrors>> {
        Ok(Self { authorizer: Authorizer::new(), schema, policies, types: Types::new()? })
    }

    /// What the policies say to this question.
    pub(crate) fn ask(&self, input: &Input) -> Answer {
        match self.question(input) {
            Ok((request, entities)) => self.answer(&request, &entities),
            Err(_) => Answer::refused("error:input"),
        }
    }

    fn answer(&self, request: &Request, entities: &Entities) -> Answer {
        let response = self.authorizer.is_authorized(request, &self.policies, entities);
        let diagnostics = response.diagnostics();
        // SECURITY: without this line a forbid that fails to evaluate is left out and a permit wins.
        let failed: Vec<String> = diagnostics.errors().map(|error| format!("error:{}", failing(error))).collect();
        let (permitted, mut rules) = if failed.is_empty() {
            let rules = diagnostics.reason().map(ToString::to_string).collect();
            (response.decision() == Decision::Allow, rules)
        } else {
            (false, failed)
        };
        if rules.is_empty() {
            return Answer::refused("default:deny");
        }
        rules.sort();
        Answer { permitted, rules }
    }

    /// Request and entities, both checked against the schema.
    pub(crate) fn question(&self, input: &Input) -> Result<(Request, Entities), QuestionError> {
        let types = &self.types;
        let request = Request::new(
            uid(&types.worker, &input.worker),
            uid(&types.action, "release"),
            uid(&types.credential, &input.credential),
            Context::from_pairs(self.context(input)?)?,
            Some(&self.schema),
        )?;
        let entities = [self.worker(input)?, self.credential(input)?, self.institution(input)?];
        Ok((request, Entities::from_entities(entities, Some(&self.schema))?))
    }

    fn worker(&self, input: &Input) -> Result<Entity, QuestionError> {
        let types = &self.types;
        let attributes = HashMap::from([
            ("tenants".to_owned(), set(&types.tenant, &input.tenants)),
            ("institutions".to_owned(), set(&types.institution, &input.institutions)),
        ]);
        let pool = HashSet::from([uid(&types.pool, &input.pool)]);
        Ok(Entity::new(uid(&types.worker, &input.worker), attributes, pool)?)
    }

    fn credential(&self, input: &Input) -> Result<Entity, QuestionError> {
        let types = &self.types;
        let attributes = HashMap::from([
            ("tenant".to_owned(), value(&types.tenant, &input.tenant)),
            ("institution".to_owned(), value(&types.institution, &input.institution.id)),
            ("region".to_owned(), value(&types.region, &input.home_region)),
        ]);
        let tenant = HashSet::from([uid(&types.tenant, &input.tenant)]);
        Ok(Entity::new(uid(&types.credential, &input.credential), attributes, tenant)?)
    }

    fn institution(&self, input: &Input) -> Result<Entity, QuestionError> {
        let institution = &input.institution;
        let attributes = HashMap::from([
            ("country".to_owned(), Value::new_string(institution.country.clone())),
            ("unattended_from".to_owned(), Value::new_long(institution.unattended_from.into())),
            ("unattended_to".to_owned(), Value::new_long(institution.unattended_to.into())),
        ]);
        Ok(Entity::new(uid(&self.types.institution, &institution.id), attributes, HashSet::new())?)
    }

    fn context(&self, input: &Input) -> Result<Vec<(String, Value)>, QuestionError> {
        let (types, context) = (&self.types, &input.context);
        let mut pairs = vec![
            ("now".to_owned(), Value::new_datetime(&context.now)),
            ("minute_of_day".to_owned(), Value::new_long(context.minute_of_day.into())),
            ("region".to_owned(), value(&types.region, &context.region)),
            ("purpose".to_owned(), value(&types.purpose, context.purpose)),
            ("scopes".to_owned(), set(&types.scope, &context.scopes)),
            ("recipient".to_owned(), value(&types.recipient, &context.recipient)),
            ("class".to_owned(), value(&types.class, context.class)),
            ("forms".to_owned(), set(&types.form, &context.forms)),
            ("attendance".to_owned(), value(&types.attendance, context.attendance)),
            ("releases_last_hour".to_owned(), Value::new_long(context.releases_last_hour.into())),
        ];
        if let Some(consent) = &context.consent {
            pairs.push(("consent".to_owned(), self.consent(consent)?));
        }
        Ok(pairs)
    }

    fn consent(&self, consent: &ConsentInput) -> Result<Value, QuestionError> {
        let types = &self.types;
        Ok(Value::new_record([
            ("active".to_owned(), Value::new_bool(consent.active)),
            ("complete".to_owned(), Value::new_bool(consent.complete)),
            ("covers_credential".to_owned(), Value::new_bool(consent.covers_credential)),
            ("purpose".to_owned(), value(&types.purpose, consent.purpose)),
            ("scopes".to_owned(), set(&types.scope, &consent.scopes)),
            ("recipient".to_owned(), value(&types.recipient, &consent.recipient)),
            ("valid_from".to_owned(), Value::new_datetime(&consent.valid_from)),
            ("valid_until".to_owned(), Value::new_datetime(&consent.valid_until)),
            ("unattended_per_day".to_owned(), Value::new_long(consent.unattended_per_day.into())),
        ])?)
    }
}

/// The id of the policy that failed.
fn failing(error: &cedar_policy::AuthorizationError) -> String {
    match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn value(kind: &EntityTypeName, id: &str) -> Value {
    Value::new_entity_uid(uid(kind, id))
}

fn set<S: AsRef<str>>(kind: &EntityTypeName, ids: &[S]) -> Value {
    Value::new_set(ids.iter().map(|id| value(kind, id.as_ref())))
}

/// The entity types of the schema, parsed once.
#[derive(Debug)]
struct Types {
    action: EntityTypeName,
    attendance: EntityTypeName,
    class: EntityTypeName,
    credential: EntityTypeName,
    form: EntityTypeName,
    institution: EntityTypeName,
    pool: EntityTypeName,
    purpose: EntityTypeName,
    recipient: EntityTypeName,
    region: EntityTypeName,
    scope: EntityTypeName,
    tenant: EntityTypeName,
    worker: EntityTypeName,
}

impl Types {
    fn new() -> Result<Self, Box<ParseErrors>> {
        let kind = |name| EntityTypeName::from_str(name).map_err(Box::new);
        Ok(Self {
            action: kind("Cofre::Action")?,
            attendance: kind("Cofre::Attendance")?,
            class: kind("Cofre::Class")?,
            credential: kind("Cofre::Credential")?,
            form: kind("Cofre::Form")?,
            institution: kind("Cofre::Institution")?,
            pool: kind("Cofre::Pool")?,
            purpose: kind("Cofre::Purpose")?,
            recipient: kind("Cofre::Recipient")?,
            region: kind("Cofre::Region")?,
            scope: kind("Cofre::Scope")?,
            tenant: kind("Cofre::Tenant")?,
            worker: kind("Cofre::Worker")?,
        })
    }
}
