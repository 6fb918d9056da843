program main;

{$mode objfpc}{$H+}

uses kvm;

procedure Answer(const R: TRequest; var A: TResponse);
begin
  A.Body := 'Hello from @NAME@: ' + R.Method + ' ' + R.Url + LineEnding;
end;

begin
  { What takes long belongs here: it happens once. }
  Serve(@Answer);
end.
