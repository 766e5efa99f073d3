//! The reference's enrolment sessions and deposits.

use cofre_model::credential::{Credential, CredentialState as Login};
use cofre_model::id::{EnrolmentId, TenantId};
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
use cofre_store::{EnrolmentState, Subject, SubjectState};

use super::{Done, Reference, Row, Session, open, unless};

impl Reference {
    pub(super) fn enrol(
        &mut self,
        at: Timestamp,
        (subject, credential, tagged): (Option<&Subject>, &Credential, bool),
        enrolment: EnrolmentId,
        expires_at: Timestamp,
    ) -> Done {
        unless(self.tenants.contains_key(&credential.tenant), Reason::NotFound)?;
        if let Some(subject) = subject {
            unless(!self.subjects.contains_key(&subject.id), Reason::WrongState)?;
        }
        let owner = match subject {
            Some(subject) => Some((subject.tenant, subject.state)),
            None => self.subjects.get(&credential.owner).copied(),
        };
        let (tenant, state) = owner.ok_or(Reason::NotFound)?;
        unless(tenant == credential.tenant, Reason::NotFound)?;
        unless(state == SubjectState::Active, Reason::WrongState)?;
        match self.logins.get(&credential.id).map(|row| row.row.state) {
            Some(state) => unless(open(state), Reason::WrongState)?,
            None => unless(tagged && credential.state == Login::Enrolling, Reason::WrongState)?,
        }
        unless(expires_at > at, Reason::WrongState)?;
        self.subjects.entry(credential.owner).or_insert((tenant, state));
        self.logins.entry(credential.id).or_insert(Row { row: credential.clone(), epoch: 1, intended: 0 });
        self.end_sessions(credential.id);
        let session = Session {
            tenant,
            credential: credential.id,
            template: credential.template_version,
            expires_at,
            state: EnrolmentState::Open,
            intent: None,
            version: 0,
        };
        self.sessions.insert(enrolment, session);
        Ok(())
    }

    /// A session of this tenant.
    pub(super) fn session(&self, tenant: TenantId, id: &EnrolmentId) -> Done<&Session> {
        self.sessions.get(id).filter(|session| session.tenant == tenant).ok_or(Reason::NotFound)
    }

    pub(super) fn end_enrolment(&mut self, tenant: TenantId, enrolment: &EnrolmentId) -> Done<Option<u64>> {
        let session = self.session(tenant, enrolment)?;
        unless(session.state == EnrolmentState::Open, Reason::WrongState)?;
        let (id, intent) = (session.credential, session.intent);
        self.end_sessions(id);
        let row = self.logins.get_mut(&id).ok_or(Reason::NotFound)?;
        if row.row.state == Login::Enrolling && row.row.secret_version == 0 {
            row.row.state = Login::Discarded;
            row.epoch += 1;
            self.meet("login discarded");
        }
        Ok(intent)
    }

    pub(super) fn complete(&mut self, at: Timestamp, enrolment: &EnrolmentId, login: &Credential) -> Done<Option<u64>> {
        let session = self.session(login.tenant, enrolment)?;
        let known = self.login(login.tenant, login.id)?;
        unless(open(known.row.state) && known.row.owner == login.owner, Reason::WrongState)?;
        unless(
            session.state == EnrolmentState::Open
                && session.expires_at > at
                && session.credential == login.id
                && session.intent.is_some()
                && session.version == login.secret_version
                && session.template == login.template_version
                && login.state == Login::Active,
            Reason::WrongState,
        )?;
        unless(known.row.not_before == login.not_before, Reason::ConsentChanged)?;
        let twin = |row: &Row| row.row.tenant == login.tenant && row.row.dedupe_tag == login.dedupe_tag;
        let twins =
            self.logins.values().any(|row| row.row.id != login.id && !row.row.dedupe_tag.is_empty() && twin(row));
        unless(!twins, Reason::DuplicateLogin)?;
        let (intent, entered_anew) = (session.intent, known.row.state == Login::SecretRejected);
        self.sessions.entry(*enrolment).and_modify(|session| session.state = EnrolmentState::Completed);
        self.logins.entry(login.id).and_modify(|row| {
            row.row = login.clone();
            row.epoch += 1;
        });
        if entered_anew {
            self.meet("refused secret entered anew");
        }
        Ok(intent)
    }
}
