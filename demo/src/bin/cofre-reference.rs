//! `cofre-reference`: writes the reference chapters of the book into `docs/reference`. `cargo xtask docs` runs it.

use anyhow::{Context as _, Result};
use cofre_demo::reference;

fn main() -> Result<()> {
    let folder = reference::root()?.join("docs/reference");
    for (file, text) in reference::chapters()? {
        let path = folder.join(file);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("wrote docs/reference/{file}");
    }
    Ok(())
}
