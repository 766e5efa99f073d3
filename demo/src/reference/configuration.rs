//! The configuration chapter, from the types the server parses the file into.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use syn::{Fields, GenericArgument, Item, PathArguments, Type};

use super::{cell, head, source};

/// Where the types stand.
const FOLDER: &str = "vault/server/src/config";
/// Where whole files stand: `cofred.toml`, and others for what one file cannot show at once.
const SAMPLES: &str = "docs/reference";

/// One key of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its place, such as `listen.people`; `<name>` stands for a name of one's own.
    pub path: String,
    /// What it takes, in words.
    pub takes: String,
    /// Whether it may be left out.
    pub optional: bool,
    /// What holds when it is left out, as TOML.
    pub default: Option<String>,
    /// A value, as TOML.
    pub example: Option<String>,
    /// What it means.
    pub meaning: String,
    /// Whether it holds further keys.
    pub table: bool,
}

/// Every key, in the order of the types.
///
/// # Errors
/// A key without a doc comment, or a value without an example.
pub fn keys(root: &Path) -> Result<Vec<Key>> {
    let files = source::below(root, FOLDER)?;
    let mut types = BTreeMap::new();
    for item in files.iter().flat_map(|file| &file.items) {
        match item {
            Item::Struct(each) => types.insert(each.ident.to_string(), item),
            Item::Enum(each) => types.insert(each.ident.to_string(), item),
            _ => None,
        };
    }
    let mut found = Vec::new();
    Walk { types: &types, keys: &mut found }.fields("File", "")?;
    Ok(found)
}

/// Whole files, by name, `cofred.toml` first.
///
/// # Errors
/// Where the folder cannot be read.
pub fn samples(root: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(root.join(SAMPLES)).context(SAMPLES)? {
        let path = item?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("cofred") && name.ends_with(".toml") {
            found.push((name, std::fs::read_to_string(&path).with_context(|| path.display().to_string())?));
        }
    }
    found.sort_by_key(|(name, _)| (name != "cofred.toml", name.clone()));
    Ok(found)
}

struct Walk<'a> {
    types: &'a BTreeMap<String, &'a Item>,
    keys: &'a mut Vec<Key>,
}

impl Walk<'_> {
    fn fields(&mut self, name: &str, prefix: &str) -> Result<()> {
        match self.types.get(name) {
            Some(Item::Struct(each)) => self.named(name, &each.fields, prefix),
            Some(Item::Enum(each)) => each.variants.iter().try_for_each(|variant| match &variant.fields {
                Fields::Unit => Ok(()),
                Fields::Named(_) => self.named(name, &variant.fields, prefix),
                Fields::Unnamed(held) => {
                    let inner = held.unnamed.first().and_then(|field| ident(&field.ty)).context("variant")?;
                    self.fields(&inner, prefix)
                }
            }),
            _ => Ok(()),
        }
    }

    fn named(&mut self, owner: &str, fields: &Fields, prefix: &str) -> Result<()> {
        for field in fields {
            let name = field.ident.as_ref().map(ToString::to_string).context("field")?;
            let name = serde_word(&field.attrs, "rename").unwrap_or(name);
            let place = format!("{FOLDER}: {owner}.{name}");
            let (optional, inner) = match argument(&field.ty, "Option") {
                Some(inner) => (true, inner),
                None => (serde_says(&field.attrs, "default"), &field.ty),
            };
            let (path, inner) = match argument(inner, "BTreeMap") {
                Some(inner) => (format!("{prefix}{name}.<name>"), inner),
                None => (format!("{prefix}{name}"), inner),
            };
            let said = Said::of(&source::doc(&field.attrs));
            if said.meaning.is_empty() {
                bail!("{place}: a key needs a doc comment; the reference is written from it");
            }
            let of = ident(inner).with_context(|| place.clone())?;
            let table = self.holds_keys(&of);
            if !table && said.example.is_none() {
                bail!("{place}: a value needs an `Example:` line");
            }
            self.keys.push(Key {
                path: path.clone(),
                takes: if table { "table".to_owned() } else { self.words(inner, &place)? },
                optional,
                default: said.default,
                example: said.example,
                meaning: said.meaning,
                table,
            });
            if table {
                self.fields(&of, &format!("{path}."))?;
            }
        }
        Ok(())
    }

    fn holds_keys(&self, name: &str) -> bool {
        match self.types.get(name) {
            Some(Item::Struct(_)) => true,
            Some(Item::Enum(each)) => each.variants.iter().any(|variant| !matches!(variant.fields, Fields::Unit)),
            _ => false,
        }
    }

    /// What a value is, in words.
    fn words(&self, of: &Type, place: &str) -> Result<String> {
        if let Some(each) = argument(of, "Vec") {
            return Ok(format!("list of {}s", self.words(each, place)?));
        }
        let name = ident(of).with_context(|| place.to_owned())?;
        Ok(match name.as_str() {
            "String" | "Slug" => "string".to_owned(),
            "PathBuf" => "path".to_owned(),
            "SocketAddr" => "address and port".to_owned(),
            "Duration" => "duration".to_owned(),
            "bool" => "true or false".to_owned(),
            "u8" | "u16" | "u32" | "u64" | "usize" => "integer".to_owned(),
            "f64" => "number".to_owned(),
            other => match self.types.get(other) {
                // Of several forms: what they are called together stands in its comment.
                Some(Item::Enum(each))
                    if each.variants.iter().any(|variant| !matches!(variant.fields, Fields::Unit)) =>
                {
                    Said::of(&source::doc(&each.attrs)).meaning.trim_end_matches('.').to_lowercase()
                }
                Some(Item::Enum(each)) => choices(each),
                _ => bail!("{place}: {other} has no words yet in demo/src/reference/configuration.rs"),
            },
        })
    }
}

fn choices(of: &syn::ItemEnum) -> String {
    let lower = serde_word(&of.attrs, "rename_all").is_some();
    let words = of.variants.iter().map(|variant| {
        let name = variant.ident.to_string();
        let word = serde_word(&variant.attrs, "rename").unwrap_or(if lower { name.to_lowercase() } else { name });
        match source::doc(&variant.attrs).join(" ") {
            said if said.is_empty() => format!("`{word}`"),
            said => format!("`{word}` ({})", said.trim_end_matches('.')),
        }
    });
    words.collect::<Vec<_>>().join(" or ")
}

/// What a doc comment says of a key.
#[derive(Default)]
struct Said {
    meaning: String,
    default: Option<String>,
    example: Option<String>,
}

impl Said {
    fn of(lines: &[String]) -> Self {
        let mut said = Self::default();
        let value = |text: &str| Some(text.trim().trim_matches('`').to_owned());
        for line in lines {
            if let Some(text) = line.strip_prefix("Default:") {
                said.default = value(text);
            } else if let Some(text) = line.strip_prefix("Example:") {
                said.example = value(text);
            } else if !line.is_empty() {
                let gap = if said.meaning.is_empty() { "" } else { " " };
                let _ = write!(said.meaning, "{gap}{line}");
            }
        }
        said
    }
}

/// The last name of a path type.
fn ident(of: &Type) -> Option<String> {
    let Type::Path(path) = of else { return None };
    path.path.segments.last().map(|segment| segment.ident.to_string())
}

/// The last type argument of `wrapper<…>`.
fn argument<'a>(of: &'a Type, wrapper: &str) -> Option<&'a Type> {
    let Type::Path(path) = of else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == wrapper)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().rev().find_map(|each| match each {
        GenericArgument::Type(inner) => Some(inner),
        _ => None,
    })
}

fn serde_says(attributes: &[syn::Attribute], word: &str) -> bool {
    serde_each(attributes, |name, _| (name == word).then_some(())).is_some()
}

fn serde_word(attributes: &[syn::Attribute], word: &str) -> Option<String> {
    serde_each(attributes, |name, value| (name == word).then(|| value.unwrap_or_default()))
}

fn serde_each<T>(
    attributes: &[syn::Attribute],
    mut wanted: impl FnMut(&str, Option<String>) -> Option<T>,
) -> Option<T> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        // What does not parse as name and text is an attribute that this chapter does not look at.
        let _ = attribute.parse_nested_meta(|meta| {
            let value = match meta.value() {
                Ok(stream) => stream.parse::<syn::LitStr>().ok().map(|text| text.value()),
                Err(_) => None,
            };
            let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            found = found.take().or_else(|| wanted(&name, value));
            Ok(())
        });
    }
    found
}

pub(super) fn chapter(root: &Path) -> Result<String> {
    let mut out = head("Configuration", "the doc comments of the types below `vault/server/src/config`");
    out += "\n`cofred` reads one TOML file, named by `--config` or `COFRE_CONFIG`. A key that is not listed here is refused, \
            and so is a value\nthat does not fit; the message names the key and the exit code is 64. No secret stands in \
            the file: it is referred to.\n`cofred check` reads and checks the file and prints what would run.\n\n\
            ## Whole files\n";
    for (name, text) in samples(root)? {
        let _ = write!(out, "\n`{SAMPLES}/{name}`:\n\n```toml cofred\n{}\n```\n", text.trim_end());
    }
    out += "\n## Keys\n\n`<name>` is a name of your own. A key without \"may be left out\" or a default has to be there, \
            where its table is.\n\n| key | takes | left out | example | meaning |\n|---|---|---|---|---|\n";
    for key in keys(root)? {
        let left_out = match (&key.default, key.optional) {
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "may be left out".to_owned(),
            (None, false) => String::new(),
        };
        let example = key.example.map(|example| format!("`{example}`")).unwrap_or_default();
        let (takes, meaning) = (cell(&key.takes), cell(&key.meaning));
        let _ = writeln!(out, "| `{}` | {takes} | {left_out} | {example} | {meaning} |", key.path);
    }
    Ok(out)
}
