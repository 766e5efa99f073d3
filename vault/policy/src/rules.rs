//! A loaded policy set and the decision made with it. Loading is strict: schema compulsory, every policy named and
//! validated, nothing doubtful taken. Deciding is pure: the same facts and the same set give the same decision.

use cofre_model::reason::Reason;

use crate::cedar::{Answer, Engine};
use crate::checks::{Asked, ORDER, Refusal, ensure};
use crate::decision::Decision;
use crate::error::PolicyError;
use crate::facts::Facts;
use crate::input::Input;
use crate::record::{self, Basis};

mod load;

/// A policy set that passed every check at load.
#[derive(Debug)]
pub struct Rules {
    engine: Engine,
    ids: Vec<String>,
    digest: [u8; 32],
}

/// What the policies alone say, without the invariants: for tests and previews. It permits nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Whether they would agree.
    pub permitted: bool,
    /// The policies that decided, by id and sorted; `error:<id>` where one failed to evaluate, `error:input` where the
    /// facts do not make a question, `default:deny` where no policy spoke.
    pub rules: Vec<String>,
    /// The context they saw, as canonical JSON.
    pub input: Vec<u8>,
}

impl Rules {
    /// Loads a policy set from named texts: one `*.cedarschema` and at least one `*.cedar`.
    ///
    /// # Errors
    /// [`PolicyError`] names the file, the policy and the way out. Nothing is taken of a set with any fault.
    pub fn from_files<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Result<Self, PolicyError> {
        load::load(files)
    }

    /// SHA-256 over the files sorted by name, each as length and bytes of its name, then of its text (lengths as eight
    /// bytes, big-endian). Stands in every decision's entry.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The ids of the policies, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// Decides a release: every invariant in the published order, the policies among them. The first that does not
    /// hold decides. Both outcomes carry the ledger entry that says so.
    pub fn decide(&self, facts: &Facts) -> Decision {
        let question = Question::of(facts);
        let mut opinion = Answer::refused(NOT_ASKED);
        for step in &ORDER {
            let checked = match step.asked {
                Asked::Invariant(check) => check(facts),
                Asked::Policies => {
                    opinion = self.ask(question.as_ref());
                    ensure(opinion.permitted, Reason::PolicyDenied)
                }
            };
            if let Err(refusal) = checked {
                let rules = match step.asked {
                    Asked::Invariant(_) => vec![format!("invariant:{}", step.number)],
                    Asked::Policies => opinion.rules,
                };
                return Decision::Deny(record::denial(facts, refusal, &self.basis(rules, question)));
            }
        }
        let permitted = opinion.permitted;
        let basis = self.basis(opinion.rules, question);
        match record::grant(facts, &basis).filter(|_| permitted) {
            Some(grant) => Decision::Permit(grant),
            // INVARIANT: the steps above ask the policies once and leave nothing absent that a grant needs. Were one
            // of them taken out, this refuses.
            None => Decision::Deny(record::denial(facts, Refusal::from(Reason::Internal), &basis)),
        }
    }

    /// What the policies alone say to these facts. Not a decision: the invariants are not asked.
    #[must_use]
    pub fn policies_alone(&self, facts: &Facts) -> Opinion {
        let question = Question::of(facts);
        let Answer { permitted, rules } = self.ask(question.as_ref());
        Opinion { permitted, rules, input: question.map(|question| question.canonical).unwrap_or_default() }
    }

    fn ask(&self, question: Option<&Question>) -> Answer {
        question.map_or_else(|| Answer::refused(NO_QUESTION), |question| self.engine.ask(&question.input))
    }

    fn basis(&self, rules: Vec<String>, question: Option<Question>) -> Basis {
        let policy_input = question.map(|question| question.canonical).unwrap_or_default();
        Basis { policy_digest: self.digest, rules, policy_input }
    }
}

/// Stands for the deciding rule where the facts do not make a question.
const NO_QUESTION: &str = "error:input";
/// Stands for the deciding rule where no step asked the policies.
const NOT_ASKED: &str = "error:not-asked";

/// What policies are asked, with the text of it that the register keeps.
struct Question {
    input: Input,
    canonical: Vec<u8>,
}

impl Question {
    fn of(facts: &Facts) -> Option<Self> {
        let input = Input::of(facts)?;
        let canonical = input.canonical()?;
        Some(Self { input, canonical })
    }
}
