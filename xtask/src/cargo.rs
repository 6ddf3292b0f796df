//! The calls of cargo. All of them name the same packages, features and profile, so that no step
//! builds again what another has built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::parts::Part;
use crate::process::{Process, forget_package};

/// How long one call of cargo may take: a test that hangs ends the step, not the machine.
pub(crate) const CARGO_MAX: Duration = Duration::from_mins(60);

/// What every call that builds is about. `ci` is the profile that the task runner itself is built
/// with.
const SCOPE: [&str; 5] = [
    "--workspace",
    "--all-features",
    "--locked",
    "--profile",
    "ci",
];

/// What cargo knows of this workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    target: PathBuf,
    /// The crates of this project.
    pub(crate) packages: Vec<Package>,
}

/// One crate of this project, as its manifest describes it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One line of a manifest's dependencies.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// The version requirement; `*` if there is none.
    pub(crate) req: String,
    /// `dev` or `build`; none for a normal one.
    pub(crate) kind: Option<String>,
}

/// One thing that cargo builds from a crate.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

/// What cargo says of each thing that it has built, as far as it is asked here.
#[derive(Debug, Deserialize)]
struct Built {
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    target: BuiltTarget,
    executable: Option<PathBuf>,
}

/// What it was built from. Some messages tell of nothing that was built.
#[derive(Debug, Default, Deserialize)]
struct BuiltTarget {
    #[serde(default)]
    name: String,
}

impl Workspace {
    /// Asks cargo for the workspace of the current folder.
    ///
    /// # Errors
    /// Cargo cannot be started, or the manifests are wrong.
    pub(crate) fn find() -> Result<Self> {
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
            .stderr(Stdio::inherit())
            .output()
            .context("cargo cannot be started; install Rust from https://rustup.rs")?;
        serde_json::from_slice(&output.stdout).context("cargo does not know this workspace")
    }

    /// Where a program that cargo has built lies, such as `orderlock` or `examples/confirm`.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    /// The folder of the programs that cargo has built.
    pub(crate) fn programs(&self) -> PathBuf {
        self.target.join("ci")
    }

    /// Looks at the formatting, and changes nothing.
    ///
    /// # Errors
    /// A file is not formatted.
    pub(crate) fn fmt(&self) -> Result<()> {
        self.cargo(&["fmt", "--all", "--check"], &[])
            .context("to format the code: cargo fmt --all")
    }

    /// Compiles everything with warnings as errors, and then the server once more as it ships, with
    /// the features that a user gets. The level goes to clippy as an argument: `RUSTFLAGS` would make
    /// every later step build all dependencies again.
    ///
    /// # Errors
    /// A lint is broken.
    pub(crate) fn clippy(&self) -> Result<()> {
        let call = self.scoped("clippy", &["--all-targets", "--", "-D", "warnings"]);
        self.cargo(&call, &[])?;
        let shipped = ["-p", "orderlock-server", "--locked", "--profile", "ci"];
        self.cargo(
            &[&["clippy"], &shipped[..], &["--", "-D", "warnings"]].concat(),
            &[],
        )
    }

    /// Runs all tests, those in the documentation included, except those of the parts that are left
    /// out. All of them run, so that one call shows all that is broken.
    ///
    /// # Errors
    /// A test failed.
    pub(crate) fn test(&self, left_out: &[Part], variables: &[(&str, String)]) -> Result<()> {
        let mut call = self.scoped("test", &["--no-fail-fast"]);
        call.extend(
            left_out
                .iter()
                .flat_map(|part| ["--exclude", part.package()]),
        );
        if !left_out.is_empty() {
            call.push("--");
            call.extend(left_out.iter().flat_map(|part| ["--skip", part.module()]));
        }
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        self.cargo(&call, &variables)
    }

    /// Runs some test programs of one crate, as [`Workspace::test`] has built them, each with its own
    /// arguments.
    ///
    /// # Errors
    /// A test failed, or cargo has not built such a program.
    pub(crate) fn test_of(
        &self,
        name: &str,
        tested: &[(&str, &[&str])],
        variables: &[(&str, String)],
    ) -> Result<()> {
        let package = self.packages.iter().find(|package| package.name == name);
        let package = package.with_context(|| format!("there is no crate {name}"))?;
        // All of them are named: with fewer, cargo would choose other features and build anew.
        let tests = package.targets.iter().filter(|it| it.kind == ["test"]);
        let mut call = self.scoped("test", &["--no-run", "--message-format=json"]);
        call.extend(tests.flat_map(|test| ["--test", &test.name]));
        let mut cargo = Command::new("cargo");
        cargo.args(&call).current_dir(&self.root);
        // Else build scripts that look at them would build their crates anew.
        forget_package(&mut cargo);
        let output = cargo.stderr(Stdio::inherit()).output();
        let output = output.context("cargo cannot be started")?;
        let text = String::from_utf8(output.stdout).context("cargo writes UTF-8")?;
        let built = text.lines().map(serde_json::from_str::<Built>);
        let built = built.collect::<Result<Vec<_>, _>>()?;
        for (test, arguments) in tested {
            let is_it =
                |it: &&Built| it.manifest_path == package.manifest_path && it.target.name == **test;
            let program = built.iter().find(is_it);
            let program = program.and_then(|it| it.executable.as_ref());
            let program =
                program.with_context(|| format!("cargo has not built {name}'s {test}"))?;
            println!("    {} {}", self.relative(program), arguments.join(" "));
            let mut command = Command::new(program);
            command.args(*arguments);
            command.current_dir(package.manifest_path.parent().unwrap_or(&self.root));
            command.envs(variables.iter().cloned()).stdin(Stdio::null());
            Process::start(&mut command)?.succeed(CARGO_MAX)?;
        }
        Ok(())
    }

    /// Builds the server, the examples and all tests, without running them: exactly what
    /// [`Workspace::test`] builds, and so nothing after it.
    ///
    /// # Errors
    /// Something does not compile.
    pub(crate) fn build(&self) -> Result<()> {
        let call = self.scoped("build", &["--lib", "--bins", "--tests", "--examples"]);
        self.cargo(&call, &[])
    }

    /// Builds the documentation of the libraries and examples with warnings as errors. The flags reach rustdoc
    /// alone.
    ///
    /// # Errors
    /// The documentation has a broken link or another fault.
    pub(crate) fn doc(&self) -> Result<()> {
        // The examples are named because cargo then takes the features of the tests' dependencies
        // too, as all other steps do. Without that, it would check nearly all crates again.
        let call = self.scoped("doc", &["--no-deps", "--lib", "--examples"]);
        self.cargo(&call, &[("RUSTDOCFLAGS", "-D warnings")])
    }

    /// The crates that a crate is built from with its default features alone, by name.
    ///
    /// # Errors
    /// Cargo does not know the crate.
    pub(crate) fn built_from(&self, package: &str) -> Result<Vec<String>> {
        let output = Command::new("cargo")
            .args(["tree", "--locked", "--package", package])
            .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
            .current_dir(&self.root)
            .stderr(Stdio::inherit())
            .output()
            .context("cargo tree cannot be started")?;
        anyhow::ensure!(
            output.status.success(),
            "cargo tree does not know {package}"
        );
        let text = String::from_utf8(output.stdout).context("cargo tree writes UTF-8")?;
        let names = text.lines().filter_map(|line| line.split(' ').next());
        Ok(names.map(Into::into).collect())
    }

    /// A path as people write it: from the root of the workspace.
    pub(crate) fn relative(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        inside.display().to_string()
    }

    fn scoped<'a>(&self, verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut call = vec![verb];
        call.extend(SCOPE);
        call.extend(more);
        call
    }

    fn cargo(&self, call: &[&str], variables: &[(&str, &str)]) -> Result<()> {
        let mut shown = String::new();
        for (name, value) in variables {
            shown.push_str(&format!("{name}='{value}' "));
        }
        shown.push_str(&format!("cargo {}", call.join(" ")));
        println!("    {shown}");
        let mut command = Command::new("cargo");
        command
            .args(call)
            .envs(variables.iter().copied())
            .current_dir(&self.root)
            .stdin(Stdio::null());
        Process::start(&mut command)?
            .succeed(CARGO_MAX)
            .with_context(|| format!("`{shown}`"))
    }
}
