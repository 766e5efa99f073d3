//! The chapter of methods, from the protocol's descriptors with their comments and the gate's table of roles.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use cofre_edge::gate::{self, Listener};
use cofre_model::caller::Role;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto,
};

use super::{cell, head, source};

/// The package.
const PACKAGE: &str = "cofre.v1";
/// What every call passes before it reaches a service.
const COUNTER: &[&str] =
    &["vault/edge/src/acceptor.rs", "vault/edge/src/counter.rs", "vault/edge/src/services/desk.rs"];

/// The code behind a service.
fn code(service: &str) -> &'static [&'static str] {
    match service {
        "DepositService" => &["vault/deposit/src", "vault/edge/src/services/deposit.rs"],
        "ConsentService" => &["vault/consent/src", "vault/edge/src/services/consent.rs"],
        "ReleaseService" => &["vault/policy/src/checks", "vault/release/src", "vault/edge/src/services/release.rs"],
        "RelayService" => &["vault/relay/src", "vault/edge/src/services/relay.rs"],
        "PrivacyService" => &["vault/privacy/src", "vault/edge/src/services/privacy.rs"],
        "AuditService" => &["vault/audit/src", "vault/edge/src/services/audit.rs"],
        "AdminService" | "OperatorService" => {
            &["vault/admin/src/registry.rs", "vault/admin/src/error.rs", "vault/admin/src/tenant.rs"]
        }
        "SecurityService" => &["vault/admin/src/security.rs", "vault/admin/src/error.rs"],
        _ => &[],
    }
}

const fn name(role: Role) -> &'static str {
    match role {
        Role::FrontEnd => "front end",
        Role::Worker => "worker",
        Role::TenantAdmin => "tenant admin",
        Role::Security => "security",
        Role::Auditor => "auditor",
        Role::Operator => "operator",
        Role::Privacy => "privacy officer",
        Role::Custodian => "custodian",
        Role::Node => "node",
    }
}

fn roles(method: &str) -> Result<String> {
    let roles = gate::allowed(method).with_context(|| format!("{method} has no row in vault/edge/src/gate.rs"))?;
    if roles.len() == Role::ALL.len() {
        return Ok("every verified caller".to_owned());
    }
    Ok(roles.iter().map(|role| name(*role)).collect::<Vec<_>>().join(", "))
}

fn doors(method: &str) -> String {
    let doors = Listener::ALL.into_iter().filter(|door| door.serves(method));
    doors.map(|door| format!("`{}`", door.name())).collect::<Vec<_>>().join(", ")
}

/// Comments by place in a file.
type Comments = BTreeMap<Vec<i32>, String>;

fn comments(file: &FileDescriptorProto) -> Comments {
    let said = |location: &prost_types::source_code_info::Location| {
        let text = format!("{} {}", location.leading_comments(), location.trailing_comments());
        (location.path.clone(), cell(&text))
    };
    file.source_code_info
        .iter()
        .flat_map(|info| &info.location)
        .map(said)
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

/// What the package holds, by name.
struct Package {
    messages: BTreeMap<String, (DescriptorProto, Vec<i32>, usize)>,
    enums: BTreeMap<String, (EnumDescriptorProto, Vec<i32>, usize)>,
    comments: Vec<Comments>,
}

fn package(files: &[FileDescriptorProto]) -> Package {
    let mut all =
        Package { messages: BTreeMap::new(), enums: BTreeMap::new(), comments: files.iter().map(comments).collect() };
    for (at, file) in files.iter().enumerate() {
        for (message, number) in file.message_type.iter().zip(0..) {
            for (each, inner) in message.enum_type.iter().zip(0..) {
                let name = format!("{}.{}", message.name(), each.name());
                all.enums.insert(name, (each.clone(), vec![4, number, 4, inner], at));
            }
            all.messages.insert(message.name().to_owned(), (message.clone(), vec![4, number], at));
        }
        for (each, number) in file.enum_type.iter().zip(0..) {
            all.enums.insert(each.name().to_owned(), (each.clone(), vec![5, number], at));
        }
    }
    all
}

impl Package {
    fn said(&self, file: usize, path: &[i32]) -> &str {
        self.comments.get(file).and_then(|comments| comments.get(path)).map_or("", String::as_str)
    }

    /// A message's fields as a table, with the names of the messages and enumerations they hold.
    fn fields(&self, of: &str, out: &mut String) -> Result<()> {
        let (message, path, file) = self.messages.get(of).with_context(|| format!("message {of}"))?;
        if message.field.is_empty() {
            out.push_str("No fields.\n");
            return Ok(());
        }
        out.push_str("| field | type | meaning |\n|---|---|---|\n");
        for (field, number) in message.field.iter().zip(0..) {
            let place = [path.as_slice(), &[2, number]].concat();
            let mut meaning = self.said(*file, &place).to_owned();
            if let Some(of) = one_of(message, field) {
                meaning = format!("One of `{of}`. {meaning}");
            }
            let _ = writeln!(out, "| `{}` | {} | {} |", field.name(), kind(field), meaning.trim_end());
        }
        Ok(())
    }
}

fn one_of<'a>(message: &'a DescriptorProto, field: &FieldDescriptorProto) -> Option<&'a str> {
    if field.proto3_optional() {
        return None;
    }
    let at = usize::try_from(field.oneof_index?).ok()?;
    message.oneof_decl.get(at).map(|of| of.name())
}

/// A field's type, with a link where it has a table of its own.
fn kind(field: &FieldDescriptorProto) -> String {
    let of = short(field.type_name());
    let one = match field.r#type() {
        Type::Message | Type::Enum => format!("[{of}](#{})", anchor(of)),
        Type::String => "string".to_owned(),
        Type::Bytes => "bytes".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Uint32 => "uint32".to_owned(),
        Type::Uint64 => "uint64".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    if field.label() == Label::Repeated { format!("list of {one}") } else { one }
}

fn short(name: &str) -> &str {
    name.strip_prefix('.')
        .and_then(|name| name.strip_prefix(PACKAGE))
        .and_then(|name| name.strip_prefix('.'))
        .unwrap_or(name)
}

fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| *c != '.').flat_map(char::to_lowercase).collect()
}

pub(super) fn chapter(root: &Path) -> Result<String> {
    let set = FileDescriptorSet::decode(cofre_proto::DESCRIPTORS).context("descriptors")?;
    let files: Vec<_> = set.file.into_iter().filter(|file| file.package() == PACKAGE).collect();
    let all = package(&files);
    let mut out = head("Methods", "`proto/cofre/v1/*.proto`, `vault/edge/src/gate.rs` and the code of each service");
    out += "\nPackage `cofre.v1`, gRPC over TLS 1.3 with a client certificate. A method that is not listed here is refused, \
            whoever asks.\nA role comes in by its own listener only. What is somebody else's answers like what is not \
            there.\n\n## Who may call what\n\n| method | roles | listener |\n|---|---|---|\n";
    for method in gate::methods() {
        let _ = writeln!(out, "| `{}` | {} | {} |", method.trim_start_matches('/'), roles(method)?, doors(method));
    }
    let counter = source::reasons(root, COUNTER)?;
    let _ = write!(
        out,
        "\nAny call may be refused at the counter with {}. What\nthe reasons mean: [errors](errors.md).\n",
        listed(&counter)
    );
    for (at, file) in files.iter().enumerate() {
        for (service, number) in file.service.iter().zip(0..) {
            let _ = write!(out, "\n## {}\n\n{}\n", service.name(), all.said(at, &[6, number]));
            let own = source::reasons(root, code(service.name()))?;
            let _ = write!(out, "\nExact reasons that its code names: {}.\n", listed(&own));
            for (method, index) in service.method.iter().zip(0..) {
                one(&all, service.name(), method, all.said(at, &[6, number, 2, index]), &mut out)?;
            }
        }
    }
    shared(root, &all, &files, &mut out)?;
    Ok(out)
}

fn one(all: &Package, service: &str, method: &MethodDescriptorProto, said: &str, out: &mut String) -> Result<()> {
    let path = format!("/{PACKAGE}.{service}/{}", method.name());
    let _ = write!(out, "\n### {service}/{}\n\n", method.name());
    if !said.is_empty() {
        let _ = write!(out, "{said}\n\n");
    }
    let _ = write!(out, "Roles: {}.\n\nRequest `{}`\n\n", roles(&path)?, short(method.input_type()));
    all.fields(short(method.input_type()), out)?;
    let stream = if method.server_streaming() { "Stream of" } else { "Response" };
    let _ = write!(out, "\n{stream} `{}`\n\n", short(method.output_type()));
    all.fields(short(method.output_type()), out)
}

/// Messages that others hold, and enumerations.
fn shared(root: &Path, all: &Package, files: &[FileDescriptorProto], out: &mut String) -> Result<()> {
    let methods = || files.iter().flat_map(|file| &file.service).flat_map(|service| &service.method);
    out.push_str("\n## Messages within messages\n");
    let held = |name: &str| {
        let fields = all.messages.values().flat_map(|(message, ..)| &message.field);
        fields.map(|field| short(field.type_name())).any(|held| held == name)
    };
    for (name, (_, path, file)) in &all.messages {
        let whole = methods().any(|each| short(each.input_type()) == name || short(each.output_type()) == name);
        let of_the_ledger = files.get(*file).is_some_and(|file| file.name().ends_with("ledger.proto"));
        if of_the_ledger || (whole && !held(name)) {
            continue;
        }
        let _ = write!(out, "\n### {name}\n\n");
        match all.said(*file, path) {
            "" => {}
            said => {
                let _ = write!(out, "{said}\n\n");
            }
        }
        all.fields(name, out)?;
    }
    let model = Model::read(root)?;
    out.push_str("\n## Enumerations\n\nThe number 0 is never a value.\n");
    for (name, (each, path, file)) in &all.enums {
        if files.get(*file).is_some_and(|file| file.name().ends_with("ledger.proto")) {
            continue;
        }
        let _ = write!(out, "\n### {name}\n\n| number | value | meaning |\n|---|---|---|\n");
        for (value, number) in each.value.iter().zip(0..).filter(|(value, _)| value.number() != 0) {
            let said = match all.said(*file, &[path.as_slice(), &[2, number]].concat()) {
                "" => model.meaning(name, value.number(), value.name()),
                said => said.to_owned(),
            };
            let _ = writeln!(out, "| {} | `{}` | {said} |", value.number(), value.name());
        }
    }
    Ok(())
}

fn listed(reasons: &[cofre_model::reason::Reason]) -> String {
    match reasons {
        [] => "none".to_owned(),
        _ => reasons.iter().map(|reason| format!("`{reason}`")).collect::<Vec<_>>().join(", "),
    }
}

/// The closed lists of the model; their doc comments are inside a macro.
struct Model(Vec<String>);

impl Model {
    fn read(root: &Path) -> Result<Self> {
        let files = ["wording.rs", "credential.rs", "consent.rs"].map(|file| format!("vault/model/src/{file}"));
        let texts = files.iter().map(|file| std::fs::read_to_string(root.join(file)).with_context(|| file.clone()));
        Ok(Self(texts.collect::<Result<_>>()?))
    }

    /// The doc comment of the value of this number in the list of this name; empty where the model has no such list.
    fn meaning(&self, list: &str, number: i32, value: &str) -> String {
        let start = format!("    {list} {{");
        let Some(text) = self.0.iter().find_map(|text| text.find(&start).and_then(|at| text.get(at..))) else {
            return String::new();
        };
        let found = text.lines().position(|line| {
            let word = line.split('"').nth(1).unwrap_or_default();
            line.contains(&format!("= {number} \"")) && !word.is_empty() && value.ends_with(&word.to_uppercase())
        });
        let lines: Vec<&str> = text.lines().take(found.unwrap_or_default()).collect();
        let mut said: Vec<&str> = lines.iter().rev().map_while(|line| line.trim().strip_prefix("///")).collect();
        said.reverse();
        cell(&said.join(" "))
    }
}
