# A client that does not wait: it sends SQL, and is asked later what became of it. Hundreds of them
# fit into one process, and each can vanish in the middle of a request as one that was killed does.
package HotswapClient;

use strict;
use warnings;

use IO::Socket::UNIX;

# What a client may read at once, in bytes.
use constant CHUNK => 65536;

# HotswapClient->new(NODE, SQL [, user => ..., db => ..., options => ...]): a session that has been
# sent SQL. options: as of PGOPTIONS.
sub new
{
	my ($class, $node, $sql, %param) = @_;
	my $self = bless { buffer => '', rows => [], busy => 1, gone => 0 }, $class;
	my $path = $node->host . '/.s.PGSQL.' . $node->port;
	my %startup = (
		user => $param{user} // 'postgres',
		database => $param{db} // 'postgres',
		application_name => $param{name} // 'client',
		options => $param{options} // '-c statement_timeout=10s');
	my $startup = pack('N', 196608) . join('', map { "$_\0$startup{$_}\0" } sort keys %startup)
	  . "\0";

	$self->{socket} = IO::Socket::UNIX->new(Peer => $path) or return $self->vanish;
	$self->{socket}->blocking(0);
	$self->write(pack('N', 4 + length $startup) . $startup);
	return defined $sql ? $self->send($sql) : $self;
}

# Sends the next SQL, when what was sent before has been answered.
sub send
{
	my ($self, $sql) = @_;

	@$self{qw(sql busy rows error message)} = ($sql, 1, [], undef, '');
	return $self->write('Q' . pack('N', 5 + length $sql) . "$sql\0");
}

sub write
{
	my ($self, $bytes) = @_;

	return $self if $self->{gone};
	local $SIG{PIPE} = 'IGNORE';
	my $written = syswrite $self->{socket}, $bytes;
	$self->vanish if !defined $written || $written < length $bytes;
	return $self;
}

# Without a word to the server, as the kernel does it for a process that was killed.
sub vanish
{
	my ($self) = @_;

	close delete $self->{socket} if $self->{socket};
	$self->{error} //= '08006' if $self->{busy};
	@$self{qw(gone busy)} = (1, 0);
	return $self;
}

# Reads what has come, without waiting; returns whether the answer is complete.
sub answered
{
	my ($self) = @_;

	while (!$self->{gone})
	{
		my $read = sysread $self->{socket}, $self->{buffer}, CHUNK, length $self->{buffer};
		last if !defined $read && $!{EAGAIN};
		$self->take_messages;
		$self->vanish if !$read;
	}
	return !$self->{busy};
}

sub take_messages
{
	my ($self) = @_;

	while (length $self->{buffer} >= 5)
	{
		my ($type, $length) = unpack 'aN', $self->{buffer};
		last if length $self->{buffer} < 1 + $length;
		my $body = substr $self->{buffer}, 5, $length - 4;
		substr($self->{buffer}, 0, 1 + $length) = '';
		if ($type eq 'D') { push @{ $self->{rows} }, [ columns_of($body) ]; }
		elsif ($type eq 'E') { $self->take_error($body); }
		elsif ($type eq 'K') { $self->{pid} = unpack 'N', $body; }
		# The first ReadyForQuery belongs to the start of the session.
		elsif ($type eq 'Z') { $self->{busy} = 0 if $self->{started}++; }
	}
	return;
}

sub columns_of
{
	my ($body) = @_;
	my ($count) = unpack 'n', $body;
	my $at = 2;
	my @columns;

	for (1 .. $count)
	{
		my $length = unpack 'l>', substr $body, $at, 4;
		$at += 4;
		push @columns, $length < 0 ? undef : substr $body, $at, $length;
		$at += $length if $length > 0;
	}
	return @columns;
}

sub take_error
{
	my ($self, $body) = @_;
	my %field = map { substr($_, 0, 1) => substr($_, 1) } grep { length } split /\0/, $body;

	# The first error of a request is what it failed for.
	$self->{error} //= $field{C};
	$self->{message} ||= $field{M};
	return;
}

# Waits for the answer.
sub finish
{
	my ($self) = @_;

	until ($self->answered)
	{
		my $ready = '';
		vec($ready, fileno $self->{socket}, 1) = 1;
		select $ready, undef, undef, 1;
	}
	return $self;
}

# The first column of the first row, of an answer without error.
sub value
{
	my ($self) = @_;

	return if defined $self->{error} || !@{ $self->{rows} };
	return $self->{rows}[0][0];
}

1;
