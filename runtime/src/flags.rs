use std::{path::{Path,PathBuf}, time::Duration, ffi::OsString, io};
pub enum Role { Help, Version, Master, Slave, Local { slaves: Option<u32> } }
pub enum Source { Host(String) }
pub struct Settings { pub role: Role, pub host: Option<String>, pub port: Option<u16>, pub advertise_host: Option<String>, pub write_bytes_max: u32, pub read_bytes_max: u32, pub client_timeout: Duration, pub audit_file: Option<PathBuf>, pub audit_level: crate::proto::master::Level, pub resource_file: Option<PathBuf>, pub resource_interval: Duration, pub task_group: u32, pub result_group: u32, pub member_id: Option<String>, pub slave_executable: Option<PathBuf>, pub crash_limit: u32, pub ready_bytes_max: u64, pub queued_bytes_max: u64, pub seed: Option<u64>, pub engine: crate::engine::Choice, pub any_build: bool, pub sources: Vec<Source>, pub user: Vec<String> }
impl Settings { pub fn parse(_: &[OsString]) -> Result<Settings, String> { todo!() } }
pub struct Target { pub addresses: Vec<String>, pub member_id: String, pub finished: bool, pub warnings: Vec<String> }
pub fn resolve_slave_target(_: &[Source], _: impl FnMut(&Path)->io::Result<Vec<u8>>) -> Result<Target, String> { todo!() }
pub fn help_text(_: &str) -> String { todo!() }
