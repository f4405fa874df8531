//! How much load this machine can make, and what making it costs: loads a
//! server process of its own and prints the report with the processor time
//! of the tester alone.
//!
//! `cargo run --release -p handover-verify --example capacity -- [NEW/S] [KEEP-ALIVE/S] [SECONDS]`

use handover_verify::{Plan, TriggerReport, run};
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        return serve().await.map_err(Into::into);
    }
    let number = |i: usize, default: f64| -> Result<f64, std::num::ParseFloatError> {
        arguments.get(i).map_or(Ok(default), |text| text.parse())
    };
    let (new, keep_alive, seconds) = (number(0, 3_000.0)?, number(1, 3_000.0)?, number(2, 10.0)?);
    let mut server = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = server.stdout.take().ok_or("no output")?;
    let mut address = String::new();
    BufReader::new(output).read_line(&mut address)?;
    let mut plan = Plan::new(&format!("http://{}/", address.trim()))?;
    (plan.new_rate, plan.keep_alive_rate, plan.connections) = (new, keep_alive, 6);
    (plan.warm_up, plan.cool_down) = (Duration::from_secs_f64(seconds), Duration::ZERO);
    let none = |_n| async {
        Ok(TriggerReport {
            label: "".into(),
            outcome: "".into(),
            as_expected: true,
        })
    };
    let before = processor_seconds()?;
    let report = run(&plan, none, |_| {}).await;
    let used = processor_seconds()? - before;
    server.kill()?;
    server.wait()?;
    let report = report?;
    print!("{}", report.table());
    for client in &report.clients {
        println!(
            "{}: left at most {:.2} ms late",
            client.load, client.max_lag_ms
        );
    }
    let requests = report.requests as f64;
    println!(
        "{:.0} requests a second; the tester used {:.0} % of one core, {:.0} µs a request",
        requests / report.duration_ms * 1_000.0,
        used / report.duration_ms * 100_000.0,
        used / requests * 1e6,
    );
    if let Some(directory) = arguments.get(3) {
        report.write_to(directory.as_ref())?;
    }
    Ok(())
}

/// User and system time of this process, from fields 14 and 15 of its stat
/// file, in the 1/100 s the kernel reports to users on every Linux.
fn processor_seconds() -> io::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(11).take(2);
    let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async { drop(answer(stream).await) });
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(512);
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let close = head
            .windows(17)
            .any(|part| part.eq_ignore_ascii_case(b"connection: close"));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await?;
        if close {
            return Ok(());
        }
        head.clear();
    }
}
