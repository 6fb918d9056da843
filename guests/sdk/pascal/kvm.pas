{ SPDX-License-Identifier: BSD-2-Clause

  The guest API for Free Pascal.

    uses kvm;
    procedure Answer(const R: TRequest; var A: TResponse);
    begin
      A.Body := 'Hello' + LineEnding;
    end;
    begin
      Serve(@Answer);
    end.

  Memory is as it was when Serve() was called at the start of every request, so
  Randomize before it gives every request the same numbers: set RandSeed :=
  R.Seed in the handler. }

unit kvm;

{$mode objfpc}{$H+}{$asmmode att}

interface

type
  TRequest = record
    Method, Url, Arg, ContentType, Body: AnsiString;
    { Fresh in every request. }
    Seed: LongInt;
    Raw: Pointer;
  end;

  TResponse = record
    Status: Word;                       { 200 }
    ContentType: AnsiString;            { text/plain }
    Body: AnsiString;
    { "Name: value"; at most 64. }
    Headers: array of AnsiString;
    { Seconds; 0 forbids caching, below 0 leaves it to VCL (as it is). }
    Ttl, Grace, Keep: Single;
  end;

  THandler = procedure(const R: TRequest; var A: TResponse);

{ Waits for requests; does not return. An exception is status 500 and its
  message in the log. }
procedure Serve(Handler: THandler);

{ The value of the first request header of that name, in any case; '' if
  there is none. }
function Header(const R: TRequest; const Name: AnsiString): AnsiString;

{ A line in the Varnish log. }
procedure Log(const Text: AnsiString);

{ Any call of the guest API by its number. }
function Call(Number, A, B, C, D, E, F: PtrInt): PtrInt;

implementation

uses sysutils;

type
  TField = packed record
    Text: PAnsiChar;
    Colon, Len: LongWord;
  end;
  PField = ^TField;

  TRaw = packed record
    Method, Url, Arg, ContentType: PAnsiChar;
    MethodLen, UrlLen, ArgLen, ContentTypeLen: Word;
    Content: PAnsiChar;
    ContentLen: QWord;
    Headers: PField;
    NumHeaders, Flags: Word;
    Reserved0: LongWord;
    Prng, Reserved1: array[0..1] of QWord;
  end;
  PRaw = ^TRaw;

  TOutField = packed record
    Text: PAnsiChar;
    Len: QWord;
  end;

  TExtra = packed record
    Headers: Pointer;
    NumHeaders: Word;
    Cached, Pad: Byte;
    Ttl, Grace, Keep: Single;
    Reserved: array[0..3] of QWord;
  end;

var
  TheHandler: THandler;
  Fields: array[0..63] of TOutField;

{ Arguments come as the System V convention has them: RDI RSI RDX RCX R8 R9 and
  the stack. The guest API wants the number in RAX. }
function Call(Number, A, B, C, D, E, F: PtrInt): PtrInt; assembler; nostackframe;
asm
        movq    %rdi, %rax
        movq    %rsi, %rdi
        movq    %rdx, %rsi
        movq    %rcx, %rdx
        movq    %r8, %rcx
        movq    %r9, %r8
        movq    8(%rsp), %r9
        outl    %eax, $0
end;

procedure Log(const Text: AnsiString);
begin
  Call($7F000, PtrInt(PAnsiChar(Text)), Length(Text), 0, 0, 0, 0);
end;

function Piece(P: PAnsiChar; Len: SizeInt): AnsiString;
begin
  SetString(Result, P, Len);
end;

function Header(const R: TRequest; const Name: AnsiString): AnsiString;
var
  I: Integer;
  H: PField;
begin
  H := PRaw(R.Raw)^.Headers;
  for I := 1 to PRaw(R.Raw)^.NumHeaders do
  begin
    if SameText(Piece(H^.Text, H^.Colon), Name) then
      Exit(Trim(Piece(H^.Text + H^.Colon + 1, H^.Len - H^.Colon - 1)));
    Inc(H);
  end;
  Result := '';
end;

procedure Respond(const A: TResponse);
var
  Extra: TExtra;
  I: Integer;
begin
  FillChar(Extra, SizeOf(Extra), 0);
  for I := 0 to High(A.Headers) do
  begin
    Fields[I].Text := PAnsiChar(A.Headers[I]);
    Fields[I].Len := Length(A.Headers[I]);
  end;
  Extra.Headers := @Fields;
  Extra.NumHeaders := Length(A.Headers);
  if A.Ttl >= 0 then
  begin
    Extra.Cached := Ord(A.Ttl > 0);
    Extra.Ttl := A.Ttl;
    if A.Ttl = 0 then
      Extra.Ttl := 0.001;
    Extra.Grace := A.Grace;
    Extra.Keep := A.Keep;
  end;
  Call($10010, A.Status, PtrInt(PAnsiChar(A.ContentType)),
    Length(A.ContentType), PtrInt(PAnsiChar(A.Body)), Length(A.Body),
    PtrInt(@Extra));
end;

procedure Start(out A: TResponse);
begin
  A := Default(TResponse);
  A.Status := 200;
  A.ContentType := 'text/plain; charset=utf-8';
  A.Ttl := -1;
end;

procedure Enter(Raw: PRaw); cdecl;
var
  R: TRequest;
  A: TResponse;
begin
  Start(A);
  try
    R.Raw := Raw;
    R.Method := Piece(Raw^.Method, Raw^.MethodLen);
    R.Url := Piece(Raw^.Url, Raw^.UrlLen);
    R.Arg := Piece(Raw^.Arg, Raw^.ArgLen);
    R.ContentType := Piece(Raw^.ContentType, Raw^.ContentTypeLen);
    R.Body := Piece(Raw^.Content, Raw^.ContentLen);
    R.Seed := LongInt(Raw^.Prng[0]);
    TheHandler(R, A);
    if Length(A.Headers) > Length(Fields) then
      raise Exception.CreateFmt('an answer has at most %d headers',
        [Length(Fields)]);
  except
    on E: Exception do
    begin
      Log(E.ClassName + ': ' + E.Message);
      Start(A);
      A.Status := 500;
      A.Body := 'The program failed; its log says why.' + LineEnding;
    end;
  end;
  Respond(A);
end;

procedure Serve(Handler: THandler);
begin
  TheHandler := Handler;
  Call($10000, 3, PtrInt(@Enter), 0, 0, 0, 0);
  Call($10001, 0, 0, 0, 0, 0, 0);
end;

end.
