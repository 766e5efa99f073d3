//! Stores for lists, the parties of a list, and the lives of its node.

use super::*;

fn node(settings: &CommitConfig) -> NodeRef {
    NodeRef { identity: settings.node.clone(), incarnation: settings.incarnation }
}

impl Bench {
    pub(in crate::lists) async fn new(engine: Engine) -> Self {
        let folder = folder();
        let config = match engine {
            Engine::Sqlite => cofre_testkit::stores::sqlite(folder.path()),
            Engine::Postgres => cofre_testkit::stores::postgres(folder.path()).await.expect("databases"),
        };
        let clock = Arc::new(TestClock::default());
        let settings = commit_config(&clock);
        let reference = Reference::new(node(&settings), engine == Engine::Sqlite);
        let stores = opened(&config, &settings.node, settings.incarnation, &clock).await;
        let client = client(0, 0);
        let world = World::rebuilt(
            tempfile::tempdir().expect("folder"),
            clock,
            stores,
            client.tenant,
            InstitutionId::try_from("ins_none").expect("id"),
            client.recipient,
            client.job_key,
        );
        Self {
            config,
            world,
            reference,
            clients: Vec::new(),
            workers: Vec::new(),
            logins: Vec::new(),
            decided: Vec::new(),
            compared: 0,
            told: Vec::new(),
            lives: 0,
            stopped: false,
            _folder: folder,
        }
    }

    /// The node ends, and lives again; as a node of another name, if so wanted.
    pub(super) async fn restart(mut self, other: bool) -> Checked<Self> {
        self.lives += 1;
        let mut settings = commit_config(&self.world.clock);
        settings.incarnation = [100 + self.lives; 16];
        if other {
            // Where records can have many nodes, whoever else there was may be there still; a file has one.
            settings.node = format!("spiffe://cofre.test/node/eu-nl/m{}", self.lives);
            self.stopped = true;
        } else {
            settings.node.clone_from(&self.reference.node.identity);
        }
        self.reference.node = node(&settings);
        let (config, clock) = (self.config.clone(), self.world.clock.clone());
        let open = opened(&config, &settings.node, settings.incarnation, &clock);
        self.world = self.world.reopened(open).await;
        self.reference.meet(if other { "life of another node" } else { "life of the same node" });
        self.apply(EntryKind::NodeStarted, Operation::NodeStarted).await?;
        Ok(self)
    }

    /// The parties of a list: two tenants with one institution, two workers, and logins of both tenants.
    pub(super) async fn begin(&mut self) -> Checked {
        self.decided.clear();
        let (now, last) = (self.world.clock.now(), self.reference.last());
        if now < last {
            self.world.clock.set(last);
        }
        let number = self.reference.size();
        self.clients = vec![client(number, 1), client(number, 2)];
        self.world.institution = InstitutionId::try_from(format!("ins_bank-{number}").as_str()).expect("id");
        for place in 0..2 {
            self.put_tenant(place).await?;
        }
        self.put_institution().await?;
        self.apply(EntryKind::TemplatePut, Operation::PutTemplate(self.world.template(1))).await?;
        self.workers = ["a", "b"].map(|name| format!("spiffe://cofre.test/worker/pool-{number}/{name}")).into();
        for worker in 0..2 {
            self.put_worker(worker).await?;
        }
        self.logins.clear();
        for place in 0..LOGINS {
            let client = usize::from(place + 1 == LOGINS);
            self.world.tenant = self.clients[client].tenant.clone();
            let subject = match self.logins.first() {
                Some(first) if first.client == client => first.subject.clone(),
                _ => self.world.subject(),
            };
            self.logins.push(Login {
                client,
                credential: self.world.blank(subject.id),
                subject,
                known: false,
                enrolment: None,
                version: 0,
                consents: Vec::new(),
                asks: Vec::new(),
                grants: Vec::new(),
                erasure: None,
                receipts: 0,
            });
        }
        Ok(())
    }

    async fn put_tenant(&mut self, place: usize) -> Checked {
        let client = self.clients[place].clone();
        self.world.tenant = client.tenant.clone();
        let key = cofre_model::job::SigningKey {
            id: client.job_key,
            tenant: client.tenant.id,
            kind: cofre_model::job::StatementKind::Job,
            public_key: [8; 32],
            not_after: self.world.clock.now().plus(Span::days(20_000)),
        };
        let recipient = Recipient { id: client.recipient, tenant: client.tenant.id, name: "Asesor".into() };
        let put = Operation::PutTenant {
            tenant: client.tenant,
            key_version: 1,
            custody_set: None,
            warm_for: Span::secs(300),
            signing_keys: vec![key],
            recipients: vec![recipient],
        };
        self.apply(EntryKind::TenantPut, put).await.map(drop)
    }

    pub(super) async fn put_institution(&mut self) -> Checked {
        let institution = Institution {
            id: self.world.institution.clone(),
            name: "Banco".into(),
            country: "ES".into(),
            state: InstitutionState::Enabled,
            lockout_threshold: 3,
            unattended_from: 0,
            unattended_to: 1_440,
        };
        self.apply(EntryKind::InstitutionPut, Operation::PutInstitution(institution)).await.map(drop)
    }

    pub(super) async fn put_worker(&mut self, place: usize) -> Checked {
        let id = cofre_model::caller::SpiffeId::parse(&self.workers[place], "cofre.test").expect("identity");
        let institution = &self.world.institution;
        let scopes = self.clients.iter().map(|client| (client.tenant.id, institution.clone())).collect();
        let worker = Worker { id, state: WorkerState::Enabled, scopes };
        self.apply(EntryKind::WorkerPut, Operation::PutWorker(worker)).await.map(drop)
    }
}

/// Opens stores; on a machine that is busy with other things a few times over.
async fn opened(config: &StoreConfig, node: &str, incarnation: [u8; 16], clock: &Arc<TestClock>) -> Stores {
    let settings = || CommitConfig { node: node.to_owned(), incarnation, ..commit_config(clock) };
    for _ in 0..9 {
        match Stores::open(config.clone(), settings()).await {
            Err(Error::Unavailable(_)) => {}
            other => return other.expect("opened"),
        }
    }
    Stores::open(config.clone(), settings()).await.expect("opened at the tenth time")
}

/// In memory where there is such a place: what a disk does to a file is not what lists are about.
fn folder() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("folder")
}

/// A tenant of a list.
fn client(list: u64, place: u8) -> Client {
    let random = |of: u8| {
        let mut random = [of; 10];
        random[1] = place;
        random[2..].copy_from_slice(&list.to_be_bytes());
        random
    };
    let tenant = Tenant {
        id: TenantId::from_parts(1, random(1)),
        slug: Slug::try_from(format!("t{list}-{place}").as_str()).expect("slug"),
        legal_name: "Acme SGIIC".into(),
        state: TenantState::Active,
        home_region: Slug::try_from(crate::world::REGION).expect("slug"),
        tenant_key_id: [5; 16],
    };
    let (recipient, job_key) = (RecipientId::from_parts(1, random(2)), SigningKeyId::from_parts(1, random(3)));
    Client { tenant, recipient, job_key }
}
