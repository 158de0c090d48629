//! Tests that run themselves again as the ranks of an MPI program.
//!
//! ```ignore
//! #[test]
//! fn ranks_sum_their_numbers() {
//!     ranks::on_ranks(&[2, 3], test_name!(), || {
//!         let world = World::init().unwrap();
//!         // ...
//!         world.finalize().unwrap();
//!     });
//! }
//! ```

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::tools::tool;

/// Environment variable that is set in processes that are ranks.
const RANK: &str = "PARAREAL_TEST_RANK";
/// Time after which a program is considered to hang. No test takes nearly as long.
const DEADLINE: Duration = Duration::from_secs(180);

/// A kind of launcher. Its exit codes and messages depend on it, and so does its answer to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// `mpirun` of Open MPI.
    OpenMpi,
    /// Hydra, the `mpiexec` of MPICH.
    Hydra,
}

impl Launcher {
    /// Returns the kind of the launcher that [`mpirun`] starts.
    ///
    /// # Panics
    /// Panics if no launcher is installed, or if it is neither Open MPI's nor MPICH's.
    #[must_use]
    pub fn used() -> Self {
        static USED: OnceLock<Launcher> = OnceLock::new();
        *USED.get_or_init(|| {
            let output = mpirun().arg("--version").output().unwrap();
            let version = String::from_utf8_lossy(&output.stdout);
            match () {
                () if version.contains("Open MPI") => Self::OpenMpi,
                () if version.contains("HYDRA") => Self::Hydra,
                () => {
                    panic!("the launcher is neither that of Open MPI nor that of MPICH: {version}")
                }
            }
        })
    }

    /// The environment variable with the number of a rank.
    #[must_use]
    pub fn rank_variable(self) -> &'static str {
        match self {
            Self::OpenMpi => "OMPI_COMM_WORLD_RANK",
            Self::Hydra => "PMI_RANK",
        }
    }

    /// The environment variables with which ranks of one machine do not share files as memory, to which a limit on the
    /// size of files would apply.
    #[must_use]
    pub fn without_shared_files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::OpenMpi => &[("OMPI_MCA_btl", "self,tcp")],
            // Memory of System V is not a file.
            Self::Hydra => &[("MPIR_CVAR_NOLOCAL", "1"), ("UCX_TLS", "self,sysv")],
        }
    }

    /// The environment variables with which ranks of one machine communicate over TCP.
    #[must_use]
    pub fn over_tcp(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::OpenMpi => &[("OMPI_MCA_btl", "self,tcp")],
            Self::Hydra => &[("MPIR_CVAR_NOLOCAL", "1"), ("UCX_TLS", "self,tcp")],
        }
    }
}

/// Output of a finished program.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

impl Ended {
    /// Returns the error messages of the program, without those of its launcher.
    #[must_use]
    pub fn error_lines(&self) -> Vec<&str> {
        self.errors.lines().filter(|line| line.starts_with("error: ")).collect()
    }

    /// Asserts that the program ended with code 0.
    ///
    /// # Panics
    /// Panics with its standard error otherwise.
    #[track_caller]
    pub fn assert_done(&self) {
        assert_eq!(self.code, Some(0), "{}", self.errors);
    }
}

/// Runs `body` in each rank of a program of `count` ranks, for each of `counts`. `name` is the name of the
/// calling test ([`test_name!`](crate::test_name)).
///
/// # Panics
/// Panics if there is no launcher, or if the test fails on any rank.
pub fn on_ranks(counts: &[usize], name: &str, body: impl FnOnce()) {
    if is_rank() {
        return body();
    }
    for &count in counts {
        let Ended { code, output, errors } = run_test(count, name);
        assert_eq!(code, Some(0), "{count} ranks:\n{output}\n{errors}");
        // The output of the ranks is interleaved, and "ok" is written separately from the name of the test.
        assert_eq!(output.matches(" 1 passed").count(), count, "{output}");
    }
}

/// Runs the test of this name as `count` ranks.
///
/// # Panics
/// Panics if there is no launcher, or if the ranks do not end.
#[must_use]
pub fn run_test(count: usize, name: &str) -> Ended {
    Running::start(&mut test_command(count, name)).wait()
}

/// Returns the command that runs the test of this name as `count` ranks.
///
/// # Panics
/// Panics if there is no launcher.
#[must_use]
pub fn test_command(count: usize, name: &str) -> Command {
    let mut command = mpirun();
    command
        .args(["-n", &count.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(RANK, "1");
    command
}

/// Returns true if this process is a rank.
#[must_use]
pub fn is_rank() -> bool {
    std::env::var_os(RANK).is_some()
}

/// Stops this rank by SIGSTOP.
///
/// # Panics
/// Panics if the rank goes on.
pub fn stop() -> ! {
    let own = std::process::id().to_string();
    Command::new("kill").args(["-STOP", &own]).status().unwrap();
    // The signal may arrive later.
    std::thread::sleep(DEADLINE);
    panic!("this rank goes on");
}

/// Returns the command of the launcher, which accepts more ranks than cores. The environment variable `MPIRUN`
/// can name a launcher other than `mpirun`.
///
/// # Panics
/// Panics if there is no launcher.
#[must_use]
pub fn mpirun() -> Command {
    let mut command = match std::env::var_os("MPIRUN") {
        Some(launcher) => Command::new(launcher),
        None => tool("mpirun", "openmpi-bin"),
    };
    command
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        // With a shorter limit, ranks that end because others are late could be mistaken for ranks that end
        // together.
        .env("PARAREAL_MPI_START_SECONDS", (2 * DEADLINE.as_secs()).to_string())
        .stdin(Stdio::null());
    command
}

/// The environment variables with which a function of MPI does not return: `MPI_Finalize` or `MPI_Comm_split`. The environment
/// variable `MPICC` can name a compiler other than `mpicc`.
///
/// # Panics
/// Panics if the compiler is missing or fails.
#[must_use]
pub fn hanging_in(call: &str) -> [(&'static str, OsString); 2] {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        let mut compiler = match std::env::var_os("MPICC") {
            Some(compiler) => Command::new(compiler),
            None => tool("mpicc", "libopenmpi-dev"),
        };
        let library = std::env::current_exe().unwrap().with_file_name("libhanging_mpi.so");
        // Other tests may be loading it.
        let new = library.with_extension(std::process::id().to_string());
        compiler.args(["-shared", "-fPIC", "-x", "c", "-", "-o"]).arg(&new).stdin(Stdio::piped());
        let mut compiling = compiler.spawn().unwrap();
        let source = include_bytes!("hanging_mpi.c");
        compiling.stdin.take().unwrap().write_all(source).unwrap();
        assert!(compiling.wait().unwrap().success(), "{compiler:?}");
        std::fs::rename(new, &library).unwrap();
        library
    });
    [("LD_PRELOAD", library.into()), ("HANGS", call.into())]
}

/// A program whose output is read while it runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: JoinHandle<String>,
    errors: JoinHandle<String>,
    deadline: Instant,
}

impl Running {
    /// Starts a program.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let output = std::thread::spawn(move || std::io::read_to_string(output).unwrap());
        let errors = std::thread::spawn(move || std::io::read_to_string(errors).unwrap());
        Self { child, output, errors, deadline: Instant::now() + DEADLINE }
    }

    /// The process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns whether the program ends within `limit`.
    ///
    /// # Panics
    /// Panics if the program cannot be waited for.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begun.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Waits for the end of the program.
    ///
    /// # Panics
    /// Panics if the program hangs.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        while !self.ends_within(Duration::from_secs(1)) {
            self.assert_alive();
        }
        let code = self.child.wait().unwrap().code();
        let (output, errors) = (self.output.join().unwrap(), self.errors.join().unwrap());
        Ended { code, output, errors }
    }

    /// Ends the program if it hangs.
    ///
    /// # Panics
    /// Panics if it has run for longer than any test takes.
    pub fn assert_alive(&mut self) {
        if Instant::now() > self.deadline {
            // On SIGTERM, the launcher also ends its ranks.
            let _ = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
            if !self.ends_within(Duration::from_secs(5)) {
                self.child.kill().unwrap();
            }
            panic!("the ranks hang");
        }
    }
}
