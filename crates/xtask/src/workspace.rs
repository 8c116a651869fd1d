//! What cargo knows of this workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package, TargetKind};

/// The workspace this tool was built in.
#[derive(Debug)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// Where `cargo metadata` fails: a broken manifest, or a lock file that is out of date.
    pub(crate) fn load() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let mut command = MetadataCommand::new();
        command.manifest_path(manifest).no_deps().other_options(["--locked".to_owned()]);
        Ok(Self { metadata: command.exec().context("cannot read the workspace")? })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.metadata.workspace_root.clone().into_std_path_buf()
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> PathBuf {
        self.metadata.target_directory.clone().into_std_path_buf()
    }

    /// The members that are published.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        let is_published =
            |package: &&Package| package.publish.as_ref().is_none_or(|registries| !registries.is_empty());
        self.metadata.packages.iter().filter(is_published)
    }

    /// The features of all members but those of one name, as cargo takes them: `package/feature,…`.
    pub(crate) fn features_but(&self, name: &str) -> String {
        let packages = self.metadata.packages.iter();
        let mut features: Vec<_> = packages
            .flat_map(|package| package.features.keys().map(move |feature| (package.name.as_str(), feature)))
            .filter(|(_, feature)| *feature != name)
            .map(|(package, feature)| format!("{package}/{feature}"))
            .collect();
        features.sort();
        features.join(",")
    }

    /// The examples of all members: (package, example).
    pub(crate) fn examples(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.packages.iter().flat_map(|package| {
            let examples = package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Example));
            examples.map(|target| (package.name.as_str(), target.name.as_str()))
        })
    }
}
