//! The steps that build something up: enrolments, deposits, consents.

use super::*;

impl Bench {
    pub(super) async fn enrol(&mut self, place: usize) -> Checked {
        let login = &self.logins[place];
        let enrolment = EnrolmentId::from_parts(self.world.ms(), self.world.bytes());
        let entry = self.world.entry(EntryKind::EnrolmentOpened);
        let new = login.credential.state == CredentialState::Enrolling;
        let owned = self.logins.iter().any(|other| other.known && other.subject.id == login.subject.id);
        let open = Operation::OpenEnrolment {
            subject: (!owned).then(|| login.subject.clone()),
            tag: new.then(|| credential_tag(&login.credential, &entry)),
            credential: login.credential.clone(),
            enrolment,
            expires_at: self.world.clock.now().plus(Span::minutes(30)),
        };
        if self.record(entry, open).await?.is_some() {
            let login = &mut self.logins[place];
            (login.enrolment, login.version, login.known) = (Some(enrolment), 0, true);
        }
        Ok(())
    }

    pub(super) async fn end_enrolment(&mut self, place: usize) -> Checked {
        let Some(enrolment) = self.logins[place].enrolment else { return Ok(()) };
        let end = Operation::EndEnrolment { tenant: self.world.tenant.id, enrolment };
        self.apply(EntryKind::EnrolmentEnded, end).await.map(drop)
    }

    pub(super) async fn intend(&mut self, place: usize) -> Checked {
        let Some(enrolment) = self.logins[place].enrolment else { return Ok(()) };
        let intent = DepositIntent {
            tenant: self.world.tenant.id,
            enrolment,
            class: Class::Login,
            deposit_key: DepositKeyId::from_parts(self.world.ms(), [4; 10]),
            entry: self.world.entry(EntryKind::DepositIntended),
        };
        let expected = self.reference.intend(self.world.clock.now(), &intent);
        let done = match self.world.records().intend_deposit(intent).await {
            Ok(permit) => Ok(permit.entry().warrant.secret_version),
            Err(CommitError::Refused(reason)) => Err(reason),
            Err(CommitError::Store(cause)) => return Err(unanswered("", &cause)),
        };
        prop_assert_eq!(done, expected);
        self.told.push(format!("{done:?}"));
        self.logins[place].version = done.unwrap_or(self.logins[place].version);
        Ok(())
    }

    pub(super) async fn complete(&mut self, place: usize, twin: bool) -> Checked {
        let Some(enrolment) = self.logins[place].enrolment else { return Ok(()) };
        let of = if twin { (place + 1) % LOGINS } else { place };
        let dedupe_tag = self.logins[of].credential.id.to_bytes().to_vec();
        // The lock is read before the row is tagged anew; every second time it is not.
        let login = &self.logins[place];
        let stands = self.world.records().credential(&self.world.tenant.id, &login.credential.id).await.expect("read");
        let credential = Credential {
            state: CredentialState::Active,
            secret_version: login.version,
            not_before: if login.version.is_multiple_of(2) {
                login.credential.not_before
            } else {
                stands.map_or(Timestamp::default(), |row| row.claimed.not_before)
            },
            dedupe_tag,
            ..login.credential.clone()
        };
        let entry = self.world.entry(EntryKind::Deposited);
        let tag = credential_tag(&credential, &entry);
        let complete = Operation::CompleteDeposit { enrolment, credential: credential.clone(), tag };
        if self.record(entry, complete).await?.is_some() {
            self.logins[place].credential = credential;
        }
        Ok(())
    }

    pub(super) async fn request(&mut self, place: usize, per_day: u8, lasts: u64) -> Checked {
        let now = self.world.clock.now();
        let login = &self.logins[place];
        let consent = Consent {
            id: ConsentId::from_parts(self.world.ms(), self.world.bytes()),
            tenant: self.world.tenant.id,
            subject: login.subject.id,
            credential: login.credential.id,
            recipient: self.world.recipient,
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Positions, Scope::Accounts].into_iter().collect(),
            valid_from: now,
            valid_until: now.plus(Span::secs(lasts)),
            history_from: now.minus(Span::days(90)),
            unattended_per_day: per_day,
            state: ConsentState::AwaitingAuthorisation,
        };
        let shown = columns::Shown { lapses_at: now.plus(Span::hours(1)), notice_digest: [6; 32], locale: Locale::Es };
        let entry = self.world.entry(EntryKind::ConsentRequested);
        let request = Operation::RequestConsent {
            tag: consent_tag(&consent, &shown, &entry),
            consent: consent.clone(),
            lapses_at: shown.lapses_at,
            notice_digest: shown.notice_digest,
            locale: shown.locale,
        };
        if self.record(entry, request).await?.is_some() {
            self.logins[place].consents.push(consent);
        }
        Ok(())
    }

    pub(super) async fn grant(&mut self, place: usize) -> Checked {
        let Some(awaited) = self.logins[place].consents.last().cloned() else { return Ok(()) };
        let consent = Consent { state: ConsentState::Active, ..awaited };
        let row = self.world.records().consent(&consent.tenant, &consent.id).await.expect("read").expect("there");
        let entry = self.world.entry(EntryKind::ConsentGranted);
        let receipt = ReceiptId::from_parts(self.world.ms(), self.world.bytes());
        let grant = Operation::GrantConsent {
            tag: consent_tag(&consent, &row.shown(), &entry),
            consent,
            evidence: b"signed in the front end".to_vec(),
            receipt: (receipt, "e30.e30.c2ln".into()),
        };
        if self.record(entry, grant).await?.is_some() {
            self.logins[place].receipts = 1;
        }
        Ok(())
    }

    pub(super) async fn end(&mut self, place: usize, expires: bool) -> Checked {
        let Some(consent) = self.logins[place].consents.last() else { return Ok(()) };
        let (kind, to) = match expires {
            true => (EntryKind::ConsentExpired, ConsentState::Expired),
            false => (EntryKind::ConsentRevoked, ConsentState::Revoked),
        };
        let end = Operation::EndConsent { tenant: self.world.tenant.id, consent: consent.id, to };
        self.apply(kind, end).await.map(drop)
    }

    pub(super) async fn receipt(&mut self, place: usize) -> Checked {
        let Some(consent) = self.logins[place].consents.last().map(|consent| consent.id) else { return Ok(()) };
        let receipt = Operation::Receipt {
            consent,
            receipt: ReceiptId::from_parts(self.world.ms(), self.world.bytes()),
            seq: self.logins[place].receipts + 1,
            state: ConsentState::Active,
            jws: "e30.e30.c2ln".into(),
        };
        if self.apply(EntryKind::ReceiptIssued, receipt).await?.is_some() {
            self.logins[place].receipts += 1;
        }
        Ok(())
    }
}
