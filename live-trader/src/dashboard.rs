//! A bot in the terminal: a picture that is drawn again and again, or plain lines where there is no terminal.

use std::io::{self, Stdout, Write as _};

use ratatui::backend::TermionBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Table};
use ratatui::{Frame, Terminal};
use rust_decimal::Decimal;
use termion::screen::{AlternateScreen, IntoAlternateScreen as _};

use crate::control::{State, Status, SymbolStatus};

/// Draws a status into a frame of any size.
pub fn draw(frame: &mut Frame<'_>, status: &Status) {
    let limits = u16::try_from(status.limits.len()).unwrap_or(u16::MAX).min(8).saturating_add(2);
    let connections = u16::try_from(status.connections.len()).unwrap_or(u16::MAX).min(8).saturating_add(2);
    let [head, symbols, foot] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Min(3),
        Constraint::Length(limits.max(connections)),
    ])
    .areas(frame.area());
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(foot);
    frame.render_widget(heading(status), head);
    frame.render_widget(symbol_table(status, symbols), symbols);
    let limits: Vec<Line<'_>> = limit_lines(status).into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(limits).block(Block::bordered().title("limits")), left);
    let connections: Vec<Line<'_>> = status
        .connections
        .iter()
        .map(|connection| {
            let colour = if connection.is_up { Color::Green } else { Color::Red };
            Line::from(Span::styled(connection_line(connection), Style::new().fg(colour)))
        })
        .collect();
    frame.render_widget(Paragraph::new(connections).block(Block::bordered().title("connections")), right);
}

fn heading(status: &Status) -> Paragraph<'_> {
    let colour = match status.state {
        State::Trading => Color::Green,
        State::Starting | State::Paused | State::Stopping => Color::Yellow,
        State::Disconnected | State::Refused | State::Killed => Color::Red,
    };
    let style = Style::new().fg(colour).add_modifier(Modifier::BOLD);
    let lines = vec![Line::from(Span::styled(state_line(status), style)), Line::from(money_line(status))];
    Paragraph::new(lines).block(Block::bordered().title("polybolos"))
}

fn symbol_table(status: &Status, area: Rect) -> Table<'_> {
    // A narrow terminal gets the columns that matter most.
    let columns: &[(usize, u16)] = match area.width {
        0..60 => &[(0, 12), (3, 10)],
        60..100 => &[(0, 12), (1, 12), (3, 10)],
        _ => &[(0, 12), (1, 14), (2, 14), (3, 12), (4, 12), (5, 8)],
    };
    const BECAUSE: usize = COLUMNS.len() - 1;
    let chosen = |cells: [String; COLUMNS.len()]| {
        let wanted = columns.iter().map(|&(column, _)| column).chain([BECAUSE]);
        Row::new(wanted.filter_map(|column| cells.get(column).cloned()).collect::<Vec<_>>())
    };
    let header = chosen(COLUMNS.map(str::to_owned)).style(Style::new().add_modifier(Modifier::BOLD));
    // Two lines of border, one of headings.
    let shown = usize::from(area.height.saturating_sub(3));
    let mut symbols: Vec<&SymbolStatus> = status.symbols.iter().collect();
    // Positions first: where there is room for some only, these are the ones to see.
    symbols.sort_by_key(|symbol| symbol.position.is_none());
    let rows: Vec<Row<'_>> = symbols.iter().take(shown).map(|symbol| chosen(cells(symbol))).collect();
    let hidden = symbols.len().saturating_sub(shown);
    let title = if hidden == 0 { "symbols".to_owned() } else { format!("symbols ({hidden} more)") };
    let widths = columns.iter().map(|&(_, width)| Constraint::Length(width)).chain([Constraint::Min(10)]);
    Table::new(rows, widths).header(header).block(Block::bordered().title(title))
}

const COLUMNS: [&str; 7] = ["symbol", "position", "entry", "open P&L", "closed P&L", "trades", "because"];

fn cells(symbol: &SymbolStatus) -> [String; 7] {
    let of_position = |cell: fn(&crate::control::PositionStatus) -> Decimal| {
        symbol.position.as_ref().map_or_else(|| "-".to_owned(), |position| number(cell(position)))
    };
    [
        symbol.symbol.clone(),
        of_position(|position| position.quantity),
        of_position(|position| position.entry_price),
        of_position(|position| position.unrealised_pnl),
        number(symbol.realised_pnl),
        symbol.trades.to_string(),
        symbol.reason.line(),
    ]
}

fn number(value: Decimal) -> String {
    value.round_dp(8).normalize().to_string()
}

fn state_line(status: &Status) -> String {
    let detail = status.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
    let kill = match (&status.kill.is_set, &status.kill.reason) {
        (true, Some(reason)) => format!("  KILL SWITCH: {reason}"),
        (true, None) => "  KILL SWITCH".to_owned(),
        (false, _) => String::new(),
    };
    let mode = format!("{:?}", status.mode).to_lowercase();
    format!("{} [{mode}] {}{detail}{kill}", status.name, status.state.word())
}

fn money_line(status: &Status) -> String {
    format!(
        "equity {} {quote}, today {}, open {}, closed {}",
        number(status.equity),
        number(status.day_pnl),
        number(status.unrealised_pnl),
        number(status.realised_pnl),
        quote = status.quote_asset
    )
}

fn limit_lines(status: &Status) -> Vec<String> {
    let line = |limit: &crate::control::LimitUse| {
        format!("{}: {} of {}", limit.name, number(limit.used), number(limit.limit))
    };
    status.limits.iter().map(line).collect()
}

fn connection_line(connection: &crate::control::ConnectionStatus) -> String {
    let state = if connection.is_up { "up" } else { "DOWN" };
    let silent = connection.silent_ms.map_or_else(String::new, |ms| format!(", silent for {ms} ms"));
    let detail = connection.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
    format!("{} {state}{silent}{detail}", connection.name)
}

/// A status as plain lines, everything in it.
pub fn lines(status: &Status) -> Vec<String> {
    let mut lines = vec![state_line(status), money_line(status)];
    for symbol in &status.symbols {
        let [name, quantity, entry, open, closed, trades, reason] = cells(symbol);
        let position = match symbol.position {
            Some(_) => format!("holds {quantity} from {entry}, open {open}"),
            None => "no position".to_owned(),
        };
        lines.push(format!("  {name}: {position} ({reason}); {trades} trades, closed {closed}"));
    }
    lines.extend(limit_lines(status).into_iter().map(|line| format!("  limit {line}")));
    lines.extend(
        status.connections.iter().map(|connection| format!("  connection {}", connection_line(connection))),
    );
    lines
}

/// What is worth a plain line when `status` follows `before`: changes of state, of positions and of the kill switch.
pub fn changes(before: Option<&Status>, status: &Status) -> Vec<String> {
    let Some(before) = before else { return lines(status) };
    let mut changed = Vec::new();
    if state_line(before) != state_line(status) {
        changed.push(state_line(status));
    }
    for symbol in &status.symbols {
        let old = before.symbols.iter().find(|old| old.symbol == symbol.symbol);
        let held = |symbol: &SymbolStatus| symbol.position.as_ref().map(|position| position.quantity);
        if old.and_then(held) != held(symbol) {
            let position =
                held(symbol).map_or_else(|| "no position".to_owned(), |q| format!("holds {}", number(q)));
            changed.push(format!(
                "{}: {position}, closed P&L {}",
                symbol.symbol,
                number(symbol.realised_pnl)
            ));
        }
    }
    changed
}

/// The terminal while it shows a bot; what was there before comes back when this is dropped.
pub struct Screen {
    terminal: Terminal<TermionBackend<AlternateScreen<Stdout>>>,
}

impl Screen {
    /// Takes the terminal, if stdout is one.
    ///
    /// # Errors
    /// The terminal's.
    pub fn open() -> io::Result<Option<Screen>> {
        let stdout = io::stdout();
        if !io::IsTerminal::is_terminal(&stdout) {
            return Ok(None);
        }
        let mut terminal = Terminal::new(TermionBackend::new(stdout.into_alternate_screen()?))?;
        terminal.hide_cursor()?;
        terminal.clear()?;
        Ok(Some(Screen { terminal }))
    }

    /// Shows a status.
    ///
    /// # Errors
    /// The terminal's.
    pub fn show(&mut self, status: &Status) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, status))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The program goes on to its end without a picture; there is nobody left to tell.
        let _ = self.terminal.show_cursor();
        let _ = io::stdout().flush();
    }
}
