//! The texts, by language. The order of the lines is the order of the page.

use cofre_model::wording::{Locale, Scope};

type Line = (&'static str, &'static str);

/// The lines of a notice; `{marks}` are filled by the renderer.
pub(super) fn lines(locale: Locale, unattended: bool) -> [Line; 9] {
    let mut lines = match locale {
        Locale::Es => ES,
        Locale::En => EN,
        Locale::Fr => FR,
        Locale::Pt => PT,
    };
    if !unattended && let Some(line) = lines.iter_mut().find(|(key, _)| *key == "frequency") {
        line.1 = match locale {
            Locale::Es => "Solo cuando usted lo pida.",
            Locale::En => "Only when you ask for it.",
            Locale::Fr => "Uniquement lorsque vous le demandez.",
            Locale::Pt => "Apenas quando o pedir.",
        };
    }
    lines
}

const ES: [Line; 9] = [
    ("who", "{aisp} accederá a {institution} en su nombre, solo para consultar."),
    ("what", "Datos: {clusters}, desde {since}."),
    ("recipient", "Los recibirá: {recipient}."),
    ("duration", "Hasta el {until}; le pediremos renovarlo cada 180 días."),
    ("frequency", "Como máximo {n} veces al día sin su intervención."),
    (
        "secrets",
        "Sus claves se cifran y nadie de {tenant} ni de {aisp} puede verlas. Los códigos de un solo uso no se guardan.",
    ),
    ("withdraw", "Puede retirar el consentimiento y borrar sus claves en cualquier momento."),
    ("allow", "Autorizar"),
    ("refuse", "No autorizar"),
];

const EN: [Line; 9] = [
    ("who", "{aisp} will access {institution} for you, to read only."),
    ("what", "Data: {clusters}, since {since}."),
    ("recipient", "Received by: {recipient}."),
    ("duration", "Until {until}; we ask you to renew every 180 days."),
    ("frequency", "At most {n} times a day without you."),
    ("secrets", "Your login is encrypted; nobody at {tenant} or {aisp} can see it. One-time codes are not kept."),
    ("withdraw", "You can withdraw consent and delete your login at any time."),
    ("allow", "Allow"),
    ("refuse", "Don't allow"),
];

const FR: [Line; 9] = [
    ("who", "{aisp} accédera à {institution} en votre nom, en lecture seule."),
    ("what", "Données : {clusters}, depuis le {since}."),
    ("recipient", "Destinataire : {recipient}."),
    ("duration", "Jusqu'au {until} ; renouvellement demandé tous les 180 jours."),
    ("frequency", "Au plus {n} fois par jour sans votre intervention."),
    (
        "secrets",
        "Vos identifiants sont chiffrés ; personne chez {tenant} ni {aisp} ne peut les voir. Les codes à usage unique ne \
         sont pas conservés.",
    ),
    ("withdraw", "Vous pouvez retirer votre consentement et supprimer vos identifiants à tout moment."),
    ("allow", "Autoriser"),
    ("refuse", "Refuser"),
];

const PT: [Line; 9] = [
    ("who", "{aisp} acederá a {institution} em seu nome, apenas para consulta."),
    ("what", "Dados: {clusters}, desde {since}."),
    ("recipient", "Destinatário: {recipient}."),
    ("duration", "Até {until}; pediremos a renovação a cada 180 dias."),
    ("frequency", "No máximo {n} vezes por dia sem a sua intervenção."),
    (
        "secrets",
        "As suas credenciais são cifradas; ninguém em {tenant} nem em {aisp} as pode ver. Os códigos de utilização única \
         não são guardados.",
    ),
    ("withdraw", "Pode retirar o consentimento e apagar as suas credenciais a qualquer momento."),
    ("allow", "Autorizar"),
    ("refuse", "Não autorizar"),
];

/// What a scope is called on the page.
pub(super) fn scope(locale: Locale, scope: Scope) -> &'static str {
    let [es, en, fr, pt] = match scope {
        Scope::Identity => ["identidad", "identity", "identité", "identidade"],
        Scope::Accounts => ["cuentas", "accounts", "comptes", "contas"],
        Scope::Balances => ["saldos", "balances", "soldes", "saldos"],
        Scope::Transactions => ["movimientos", "transactions", "opérations", "movimentos"],
        Scope::Cards => ["tarjetas", "cards", "cartes", "cartões"],
        Scope::Portfolios => ["carteras", "portfolios", "portefeuilles", "carteiras"],
        Scope::Positions => ["posiciones", "positions", "positions", "posições"],
        Scope::InvestmentTransactions => [
            "operaciones de inversión",
            "investment transactions",
            "opérations d'investissement",
            "operações de investimento",
        ],
        Scope::Liabilities => ["préstamos y deudas", "loans and debts", "prêts et dettes", "empréstimos e dívidas"],
        Scope::Holders => ["titulares", "holders", "titulaires", "titulares"],
        Scope::Documents => ["documentos", "documents", "documents", "documentos"],
        Scope::Suitability => {
            ["perfil de idoneidad", "suitability profile", "profil d'adéquation", "perfil de adequação"]
        }
    };
    match locale {
        Locale::Es => es,
        Locale::En => en,
        Locale::Fr => fr,
        Locale::Pt => pt,
    }
}
