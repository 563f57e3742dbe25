//! Configuration files, `myid` and the dynamic file. They are the operator's own, so nothing bounds what is
//! allocated for them but their size; what counts is that every content leads to an answer.

use std::fs;

use zkserver::config::{ConfigSource, Environment, load, properties, toml};

use super::{for_each_input, mutator};

/// Files in the format of Java properties.
pub fn cfgs() -> Vec<Vec<u8>> {
    let plain = "dataDir=/d\nclientPort=2181\ntickTime=2000 #comment\n# a comment\nserver.1=a:1:2;3\n";
    let odd = "key\\ with\\=escapes : \\u0041value\\\n   goes on\n!other\n\\u00\r\nempty\n = x\nk\\";
    let full = "dataDir=/d\ndataLogDir=/l\nclientPort=0\nclientPortAddress=::1\nmaxClientCnxns=-1\n\
                4lw.commands.whitelist=*\nautopurge.purgeInterval=1\nsnapshot.compression.method=gz\n\
                server.1=[::1]:1:2:observer;[::]:3|b:4:5\nserver.2=b:2888:3888:participant\nweight.1=2\n\
                group.1=1:2\nforceSync=maybe\nminSessionTimeout=99999999999\njute.maxbuffer=0x10\nnokey\n";
    [plain, odd, full].map(|text| text.as_bytes().to_vec()).to_vec()
}

/// The same in TOML.
pub fn tomls() -> Vec<Vec<u8>> {
    let text = "dataDir = \"/d\"\nclientPort = 2181\n\"4lw.commands.whitelist\" = \"*\"\n[server]\n\
                1 = \"a:1:2\"\n2 = \"b:1:2\"\n[a.b]\nc = [1, 2.5, true, 1979-05-27]\nd = { e = 'f' }\n";
    vec![text.as_bytes().to_vec()]
}

pub fn run_properties(bytes: &[u8]) {
    let (properties, errors) = properties::parse(bytes);
    let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    assert!(properties.len() + errors.len() <= 2 * lines);
    assert!(
        properties
            .iter()
            .all(|property| (1..=lines).contains(&(property.line as usize)))
    );
}

pub fn run_toml(bytes: &[u8]) {
    drop(toml::parse(&String::from_utf8_lossy(bytes)));
}

/// Through the files themselves, as the program reads them.
#[test]
fn configurations_of_any_content_are_judged() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let data = format!("dataDir={}\n", dir.path().display());
    let dynamic = format!(
        "{data}clientPort=1\ndynamicConfigFile={}\n",
        path("dynamic").display()
    );
    let member_lines = b"server.1=a:1:2:participant;3\nserver.2=[::1]:1:2;[::]:3\nversion=10\n".to_vec();
    for_each_input(40_000, |number, prng| {
        let (name, text) = match number % 4 {
            0 => {
                fs::write(path("myid"), mutator::mutate(prng, &[b"1\n".to_vec()])).expect("a file");
                ("zoo.cfg", [data.as_bytes(), &cfgs()[2]].concat())
            }
            1 => {
                fs::write(
                    path("dynamic"),
                    mutator::mutate(prng, std::slice::from_ref(&member_lines)),
                )
                .expect("a file");
                ("zoo.cfg", dynamic.clone().into_bytes())
            }
            2 => ("zoo.toml", mutator::mutate(prng, &tomls())),
            _ => ("zoo.cfg", mutator::mutate(prng, &cfgs())),
        };
        fs::write(path(name), &text).expect("a file");
        let loaded = load(&ConfigSource::File(path(name)), &Environment::from_pairs(&[]));
        for problem in &loaded.problems {
            assert!(!problem.to_string().is_empty());
        }
    });
}
