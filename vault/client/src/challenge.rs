//! The worker's side of a second factor: a key for one challenge, signed by the worker's own identity, and the answer
//! that only this process can open.

use cofre_envelope::context::AnswerContext;
use cofre_envelope::{ClientSecret, SealedAnswer, Suite, WorkerKeyPair, open_answer, random};
use cofre_model::id::ChallengeId;
use cofre_model::permit::EntryRef;
use cofre_model::request::SealKey;
use cofre_model::statement;
use cofre_model::time::Timestamp;
use cofre_model::wording::ScaKind;
use cofre_proto::v1;
use cofre_proto::v1::await_answer_response::End;

use crate::error::{Error, NotVerified};
use crate::wire::{call, entry};
use crate::worker::{Lease, Worker};

/// What the institution asks the investor for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Kind of code.
    pub kind: ScaKind,
    /// Its length, 1 to 12.
    pub code_length: u8,
    /// Which try this is, from 1.
    pub attempt: u8,
    /// When the institution stops waiting.
    pub expires: Timestamp,
    /// What the institution's page says. The vault looks for signs of an order and keeps nothing of it.
    pub text: String,
}

/// An open challenge. Its private key lives and dies with it.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct OpenChallenge {
    /// Its id.
    pub id: ChallengeId,
    /// The ledger entry of its opening.
    pub entry: EntryRef,
    pair: WorkerKeyPair,
    context: AnswerContext,
}

/// How waiting ended.
#[expect(missing_debug_implementations, reason = "secret")]
pub enum Awaited {
    /// The investor's code.
    Code(ClientSecret),
    /// Nobody answered in time. The challenge is over; never ask again by itself.
    Expired,
    /// The investor, the vault or a revocation cancelled: cancel at the institution and log out.
    Cancelled,
}

impl Worker {
    /// Opens a challenge under a live lease of an attended job.
    ///
    /// # Errors
    /// ATTENDANCE_REQUIRED for an unattended job; NOT_PERMITTED where the text speaks of an order: stop the job;
    /// WRONG_STATE while another is open, or one wrong answer before the institution's own lock-out.
    pub async fn open_challenge(&self, lease: &Lease, question: Question) -> Result<OpenChallenge, Error> {
        let pair = WorkerKeyPair::generate(Suite::MlKem768X25519)?;
        let key = SealKey { suite: pair.public().suite().into(), bytes: pair.public().as_bytes().to_vec() };
        let id = ChallengeId::from_parts(self.now().millis(), random::array()?);
        let signed = statement::challenge_key(lease.credential, id, question.attempt, question.expires, &key);
        let request = v1::OpenRequest {
            credential_id: lease.credential.to_string(),
            job_id: lease.job.to_string(),
            kind: question.kind.number(),
            code_length: u32::from(question.code_length),
            attempt: u32::from(question.attempt),
            expires_us: question.expires.micros(),
            intent: "LOGIN".to_owned(),
            text: question.text,
            challenge_id: id.to_string(),
            key: Some(self.challenge_key(key, &signed)?),
        };
        let entry = entry(self.relay().open(call(request)).await?.into_inner().entry)?;
        let context = AnswerContext {
            tenant: lease.tenant,
            credential: lease.credential,
            challenge: id,
            attempt: u32::from(question.attempt),
        };
        Ok(OpenChallenge { id, entry, pair, context })
    }

    fn challenge_key(&self, key: SealKey, signed: &[u8]) -> Result<v1::ChallengeKey, Error> {
        let identity = self.identity();
        Ok(v1::ChallengeKey {
            suite: key.suite.number(),
            public_key: key.bytes,
            certificate_chain: identity.chain().iter().map(|certificate| certificate.to_vec()).collect(),
            signature: identity.sign(signed)?,
        })
    }

    /// Waits for the investor's answer and opens it.
    ///
    /// # Errors
    /// [`NotVerified::Answer`] for one sealed for another challenge or attempt.
    pub async fn await_answer(&self, challenge: &OpenChallenge) -> Result<Awaited, Error> {
        let request = v1::AwaitAnswerRequest { challenge_id: challenge.id.to_string() };
        let mut stream = self.relay().await_answer(request).await?.into_inner();
        let Some(wire) = stream.message().await? else { return Err(Error::BrokenOff) };
        match End::try_from(wire.end) {
            Ok(End::Answered) => {
                let sealed = SealedAnswer { encapsulated_key: wire.encapsulated_key, ciphertext: wire.ciphertext };
                let code = open_answer(&challenge.pair, &challenge.context, &sealed);
                Ok(Awaited::Code(code.map_err(|_| NotVerified::Answer)?))
            }
            Ok(End::Expired) => Ok(Awaited::Expired),
            Ok(End::Cancelled) => Ok(Awaited::Cancelled),
            Ok(End::Unspecified) | Err(_) => Err(Error::Answer("end")),
        }
    }

    /// Says how the institution took the answer. The challenge and its key are gone afterwards.
    ///
    /// # Errors
    /// NOT_FOUND once it was forgotten.
    pub async fn conclude(&self, challenge: OpenChallenge, succeeded: bool) -> Result<EntryRef, Error> {
        let request = v1::ConcludeRequest { challenge_id: challenge.id.to_string(), succeeded };
        entry(self.relay().conclude(call(request)).await?.into_inner().entry)
    }

    /// Gives up a challenge that nobody answered.
    ///
    /// # Errors
    /// NOT_FOUND once it was forgotten.
    pub async fn cancel_challenge(&self, challenge: OpenChallenge) -> Result<EntryRef, Error> {
        let request = v1::CancelRequest { challenge_id: challenge.id.to_string() };
        entry(self.relay().cancel(call(request)).await?.into_inner().entry)
    }
}
