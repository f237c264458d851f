//! Files on the disk: `ID.file`, and beside it `ID.json` with what it is, which is written last: a file is there when that is. What
//! is being written has a name that ends in `.new`.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Meta, valid_id};

/// The longest description that is read, in bytes.
const MAX_META: u64 = 4096;

fn path(dir: &Path, id: &str, kind: &str) -> PathBuf {
    dir.join(format!("{id}.{kind}"))
}

/// What is there of a file; `None` if it is not there.
pub(super) async fn meta(dir: &Path, id: &str) -> io::Result<Option<Meta>> {
    let file = match File::open(path(dir, id, "json")).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut json = Vec::new();
    file.take(MAX_META).read_to_end(&mut json).await?;
    serde_json::from_slice(&json).map(Some).map_err(io::Error::from)
}

/// The content of a file that is there.
pub(super) async fn content(dir: &Path, id: &str) -> io::Result<File> {
    File::open(path(dir, id, "file")).await
}

/// An upload that is being written. Dropped before it is kept, it leaves nothing.
pub(super) struct Upload {
    dir: PathBuf,
    id: String,
    file: File,
    renamed: bool,
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.renamed {
            // Nobody can wait here, and to take one name away is quick.
            let _ = std::fs::remove_file(path(&self.dir, &self.id, "new"));
        }
    }
}

impl Upload {
    /// Begins; it fails with `AlreadyExists` while another upload of the same file is under way.
    pub(super) async fn begin(dir: &Path, id: &str) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path(dir, id, "new")).await?;
        Ok(Self { dir: dir.into(), id: id.into(), file, renamed: false })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Makes it a file: durable when this is done, content first.
    pub(super) async fn keep(mut self, meta: &Meta) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        fs::rename(path(&self.dir, &self.id, "new"), path(&self.dir, &self.id, "file")).await?;
        self.renamed = true;
        sync(&self.dir).await?;
        let (new, there) = (path(&self.dir, &self.id, "json.new"), path(&self.dir, &self.id, "json"));
        let mut description = File::create(&new).await?;
        description.write_all(&serde_json::to_vec(meta)?).await?;
        description.flush().await?;
        description.sync_all().await?;
        fs::rename(new, there).await?;
        sync(&self.dir).await
    }
}

/// Names are durable too.
async fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir).await?.sync_all().await
}

/// Takes a file away, its description first.
pub(super) async fn delete(dir: &Path, id: &str) -> io::Result<()> {
    fs::remove_file(path(dir, id, "json")).await?;
    fs::remove_file(path(dir, id, "file")).await
}

/// All files, one after the other.
struct Walk<'a> {
    dir: &'a Path,
    entries: fs::ReadDir,
}

impl<'a> Walk<'a> {
    async fn begin(dir: &'a Path) -> io::Result<Self> {
        Ok(Self { dir, entries: fs::read_dir(dir).await? })
    }

    /// The next one: its id, and what it is.
    async fn next(&mut self) -> io::Result<Option<(String, Meta)>> {
        while let Some(entry) = self.entries.next_entry().await? {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json")).filter(|id| valid_id(id));
            let Some(id) = id else { continue };
            match meta(self.dir, id).await {
                Ok(Some(meta)) => return Ok(Some((id.into(), meta))),
                // It went meanwhile.
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(id, %error, "the description of a file cannot be read; it is passed over");
                }
            }
        }
        Ok(None)
    }
}

/// Begins: leftovers go, and `found` is told of each file.
pub(super) async fn scan(dir: &Path, mut found: impl FnMut(&Meta)) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    // What users share is for nobody else on this machine.
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(dir).await?;
    let mut entries = fs::read_dir(dir).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name();
        let Some((id, kind)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
        let lone = kind == "file" && !fs::try_exists(path(dir, id, "json")).await?;
        if valid_id(id) && (lone || kind == "new" || kind == "json.new") {
            fs::remove_file(entry.path()).await?;
        }
    }
    let mut files = Walk::begin(dir).await?;
    while let Some((_, meta)) = files.next().await? {
        found(&meta);
    }
    Ok(())
}

/// Deletes what was stored before this time, and tells of each.
pub(super) async fn sweep(dir: &Path, before_ms: u64, mut gone: impl FnMut(&Meta)) -> io::Result<()> {
    let mut files = Walk::begin(dir).await?;
    while let Some((id, meta)) = files.next().await? {
        if meta.time_ms < before_ms {
            delete(dir, &id).await?;
            gone(&meta);
        }
    }
    Ok(())
}
