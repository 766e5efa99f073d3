//! Reads what only source text holds: doc comments of types, and the reasons a crate names.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use cofre_model::reason::Reason;

/// Parses the source files below a folder of the repository, tests left out.
pub(super) fn below(root: &Path, folder: &str) -> Result<Vec<syn::File>> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = item?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && path.file_stem().is_some_and(|n| n != "tests")
            {
                let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                found.push(syn::parse_file(&text).with_context(|| path.display().to_string())?);
            }
        }
    }
    Ok(found)
}

/// The lines of an item's doc comment, trimmed.
pub(super) fn doc(attributes: &[syn::Attribute]) -> Vec<String> {
    let line = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::NameValue(syn::MetaNameValue {
            path,
            value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
            ..
        }) if path.is_ident("doc") => Some(text.value().trim().to_owned()),
        _ => None,
    };
    attributes.iter().filter_map(line).collect()
}

/// The exact reasons that the shipped code below some paths names, in the order of their numbers.
pub(super) fn reasons(root: &Path, paths: &[&str]) -> Result<Vec<Reason>> {
    let mut named = BTreeSet::new();
    for path in paths {
        walk(&root.join(path), &mut named)?;
    }
    Ok(Reason::ALL.iter().copied().filter(|reason| named.contains(&format!("{reason:?}"))).collect())
}

fn walk(path: &Path, named: &mut BTreeSet<String>) -> Result<()> {
    if path.is_dir() {
        for item in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
            walk(&item?.path(), named)?;
        }
    } else if path.extension().is_some_and(|end| end == "rs") && path.file_stem().is_some_and(|name| name != "tests") {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, _) in shipped.match_indices("Reason::") {
            let rest = shipped.get(at + "Reason::".len()..).unwrap_or_default();
            named.insert(rest.chars().take_while(char::is_ascii_alphanumeric).collect());
        }
    }
    Ok(())
}
