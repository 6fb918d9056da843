{ SPDX-License-Identifier: BSD-2-Clause }

program hello;

{$mode objfpc}{$H+}

uses sysutils, kvm;

procedure Answer(const R: TRequest; var A: TResponse);
begin
  if R.Url = '/fail' then
    raise Exception.Create('asked to fail');
  if R.Url = '/headers' then
    SetLength(A.Headers, 65);
  A.Body := 'Hello from Pascal! ' + Header(R, 'user-agent') + LineEnding;
end;

begin
  Serve(@Answer);
end.
