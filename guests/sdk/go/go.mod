module kvm

go 1.19
